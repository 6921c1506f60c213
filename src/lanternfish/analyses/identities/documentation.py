"""What the page of the analysis says."""

DOCUMENTATION = """\
# Tracking that keeps identities

Follows animals that meet often, by what each looks like: [idtracker.ai](https://idtracker.ai) cuts
the video where animals touch, trains a small network on the pieces in which all are apart, and
names every piece by it. *Tracking without labels* is faster, and does as well where animals seldom
touch or differ clearly.

**What it costs.** An environment of its own (1.8 GB, built once, on first use), and time: on one
core about 50 s for 10 s of video of two fish of 220 x 170 px, where tracking without labels takes
3 s; more with more animals. Its contrastive step, which helps with many animals that look alike, is
off on a CPU, where it takes hours; choose the GPU where there is one.

**What goes in.** A video from a camera that does not move, and the number of animals, two or more.
Animals are what differs from the background, as in tracking without labels; threshold, sizes and
arena are the same, and *Suggest from the data* finds them.

**What comes out.** Positions (`positions.csv`; NWB with ndx-pose, one file for each animal), a
labelled video, ways, speed, occupancy, time in regions, distances between animals.

**How far to trust the names.** idtracker.ai estimates its own accuracy; it said 1.0 of videos of
look-alikes in which .90 of the names were right, and so its estimate is shown nowhere. Instead, the
report says in which share of the frames in which all animals are apart a second method, which knows
nothing of the first, tracking by motion and size, gives the same names. Where both agree, names are
likely right; where they differ, look at the labelled video. The column `identity` of
`positions.csv` is empty: nobody has a probability for it.

**Limits.** Animals must be apart, all of them, in some frames; each must be larger than about 50
px. A position is the centre of the visible area. A killed job begins idtracker.ai again. The seed
is given to it; results on another machine may differ.

idtracker.ai is under the GPL-3.0; this program runs it as a process of its own and shares files
with it, nothing else. Its telemetry is off.
"""
