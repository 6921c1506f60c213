"""What the page of the analysis says."""

DOCUMENTATION = """\
# Calcium imaging

Finds cells in a movie of calcium imaging, takes motion away, and gives the fluorescence, dF/F and
deconvolved spikes of each: [suite2p](https://suite2p.org) does the work, in an environment of its
own (1.5 GB, built once on first use). suite2p is under the GPL-3.0; this program runs it as a
process of its own and shares files with it, nothing else.

**What goes in.** A movie of one plane and one channel: a TIFF stack, HDF5, or NWB with a
TwoPhotonSeries; several movies become one job each. The frame rate is read from the file where it
says, and compared with what the form says. Frames are read in blocks: memory does not grow with
their number. Known cells (HDF5 with `masks` and `traces`), where you have them, are used for
scoring only.

**What comes out.** The page *Look at the regions*: mean and correlation image with numbered
contours; choose one to see its dF/F and spikes, and move the filters. `regions.csv`, `dff.csv`,
`spikes.csv`, `shifts.csv`; NWB with PlaneSegmentation, Fluorescence, DfOverF and deconvolved
activity of all regions; pictures; `report.md`. `traces.f32` is what the page reads: for each
region dF/F of all frames, then spikes, 4 bytes each.

**Which regions are cells.** All regions that suite2p finds are kept. Taken for cells are those
whose trace is smooth (snr: 1 minus half the variance of steps over the variance), skewed (cells
rise fast and are mostly quiet) and whose shape is compact (1 is a disc). Its own classifier
(`is_cell`) is shown beside that, and decides nothing: in noisy movies it misses nearly all cells.

**dF/F.** F less the change of the neuropil around it (times its share), relative to the ground: the
smoothed trace's minimum over a minute, then the maximum of that.

**Limits.** Cells that are silent are not found, as regions are found by what changes. The defaults
suit cell bodies; for dendrites raise the greatest compactness. Densely firing cells are less
skewed: lower that filter. Deconvolved spikes are relative, no counts. Runs on the CPU. Movies of
two photons: for one photon, neuropil needs other settings than are offered here.

A job that is killed before suite2p has finished begins again; one killed later goes on from its
results. The copy of the movie that suite2p works on (2 bytes a pixel and frame) is deleted.
"""
