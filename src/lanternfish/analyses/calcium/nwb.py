"""Regions and traces as NWB: PlaneSegmentation, Fluorescence, DfOverF, deconvolved spikes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lanternfish.analyses.calcium.regions import Regions

UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)  # said to be unknown
EMITTED = 510.0  # nm, of green indicators


def write(regions: Regions, changes: np.ndarray, cells: np.ndarray, path: Path, about: Any) -> None:
    """Write one file.

    Args:
        changes: dF/F. cells: (regions,) of bool. about: `movie` (name), `software`, `subject`,
            `species`, `sex`, `age`, `indicator`, `place`, `excitation`, `recorded`.
    """
    import pynwb

    classes: Any = pynwb  # made from a schema when it is imported: unknown to a type checker
    start = datetime.fromisoformat(about["recorded"]) if about["recorded"] else UNKNOWN
    file = classes.NWBFile(
        session_description=f"Calcium imaging: {about['movie']}",
        identifier=f"{about['movie']}:{about['identity']}",
        session_start_time=start if start.tzinfo else start.replace(tzinfo=UTC),
    )
    file.subject = classes.file.Subject(
        subject_id=about["subject"] or "unknown",
        species=about["species"] or None,
        sex=about["sex"],
        age=about["age"] or None,
    )
    room = file.create_processing_module(
        "ophys", f"Regions and traces that {about['software']} found"
    )
    if len(regions):
        table = _segmentation(file, room, regions, cells, about)
        _traces(room, regions, changes, table)
    _pictures(room, regions)
    _motion(room, regions)
    path.parent.mkdir(parents=True, exist_ok=True)
    with classes.NWBHDF5IO(path, "w") as io:
        io.write(file)


def _segmentation(file, room, regions: Regions, cells: np.ndarray, about):
    from pynwb.ophys import ImageSegmentation, OpticalChannel

    device = file.create_device("microscope", description="Microscope that recorded the movie")
    channel = OpticalChannel(
        name="green", description="Light of the indicator", emission_lambda=EMITTED
    )
    plane = file.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        description="The plane that was recorded",
        device=device,
        excitation_lambda=float(about["excitation"]),
        imaging_rate=float(regions.rate),
        indicator=about["indicator"] or "unknown",
        location=about["place"] or "unknown",
    )
    segmentation: Any = ImageSegmentation()  # its methods are made from the schema too
    room.add(segmentation)
    table = segmentation.create_plane_segmentation(
        name="PlaneSegmentation", description="Regions that were found", imaging_plane=plane
    )
    for pixels, weights in zip(regions.pixels, regions.weights, strict=True):
        mask = [(int(x), int(y), float(w)) for (y, x), w in zip(pixels, weights, strict=True)]
        table.add_roi(pixel_mask=mask)
    columns = {
        "accepted": ("Whether the region is taken for a cell", cells.astype(bool)),
        "is_cell": ("What suite2p's classifier says", regions.classified[:, 0] > 0),
        "cell_probability": ("Of suite2p's classifier", regions.classified[:, 1].astype(float)),
        "snr": ("1 - half the variance of steps over the variance", regions.measures["snr"]),
        "skew": ("Skewness of the trace", regions.measures["skew"]),
        "compactness": ("1 is a disc, larger is less compact", regions.measures["compactness"]),
    }
    for name, (words, values) in columns.items():
        table.add_column(name=name, description=words, data=list(values))
    return table


def _traces(room, regions: Regions, changes: np.ndarray, table) -> None:
    from pynwb.ophys import DfOverF, Fluorescence

    rows = table.create_roi_table_region(
        region=list(range(len(regions))), description="All regions"
    )
    light: Any = Fluorescence(name="Fluorescence")
    change: Any = DfOverF(name="DfOverF")
    spikes: Any = Fluorescence(name="Deconvolved")
    for each in (light, change, spikes):
        room.add(each)
    ratio = "Change of the brightness, less that of the neuropil, relative to the ground"
    for place, name, values, unit, words in (
        (light, "raw", regions.raw, "a.u.", "Mean brightness of a region"),
        (light, "neuropil", regions.neuropil, "a.u.", "Mean brightness around a region"),
        (change, "dff", changes, "n.a.", ratio),
        (spikes, "spikes", regions.spikes, "a.u.", "Deconvolved activity (OASIS)"),
    ):
        place.create_roi_response_series(
            name=name,
            description=words,
            data=np.ascontiguousarray(values.T, np.float32),
            rois=rows,
            unit=unit,
            rate=float(regions.rate),
            starting_time=0.0,
        )


def _pictures(room, regions: Regions) -> None:
    from pynwb.base import Images
    from pynwb.image import GrayscaleImage

    images: Any = Images(name="images", description="Over all frames, after registration")
    for name, values, words in (
        ("mean", regions.motion.mean, "Mean of the frames"),
        ("correlation", regions.correlation, regions.related),
    ):
        shown = np.ascontiguousarray(values.T, np.float32)
        images.add_image(GrayscaleImage(name=name, data=shown, description=words))
    room.add(images)


def _motion(room, regions: Regions) -> None:
    import pynwb

    classes: Any = pynwb
    if len(regions.motion.shifts):
        room.add(
            classes.TimeSeries(
                name="motion_shifts",
                description="Shift of each frame that registration took away: y, x",
                data=np.asarray(regions.motion.shifts, np.float32),
                unit="pixels",
                rate=float(regions.rate),
                starting_time=0.0,
            )
        )
