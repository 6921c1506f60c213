"""The process that idtracker.ai runs in: `python idtracker_child.py task.json`, in its environment.

Reads a task and a video; writes positions as an .npz without pickles; says what it does in lines of
JSON on its standard output that begin with `LANTERNFISH `. It is the only file that imports
idtracker.ai (GPL-3.0), and nothing imports it. Its telemetry is off, and Qt, which it imports,
opens no window.

Reference: Romero-Ferrero et al., Nature Methods 2019, doi:10.1038/s41592-018-0295-5.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

os.environ.update(
    IDTRACKERAI_DISABLE_ANALYTICS="1",
    QT_QPA_PLATFORM="offscreen",
    DO_NOT_TRACK="1",
    OMP_NUM_THREADS="1",
)
STAGES = {
    "Animal detection": (0.05, "finding animals"),
    "Crossing detection": (0.2, "telling animals from crossings"),
    "Fragmentation": (0.3, "cutting the video where animals meet"),
    "Tracking": (0.4, "learning how each animal looks"),
    "Identification": (0.85, "naming the fragments"),
    "Trajectories creation": (0.95, "writing positions"),
}


def say(**told) -> None:
    print("LANTERNFISH " + json.dumps(told), flush=True)


class Stages(logging.Handler):
    """Tells of the stages that idtracker.ai logs, and of its warnings."""

    def emit(self, record) -> None:
        text = record.getMessage()
        name = text.rpartition("START ")[2]
        if "START " in text and name in STAGES:
            share, words = STAGES[name]
            say(share=share, stage=words)
        elif record.levelno >= logging.WARNING:
            print(text.strip(), flush=True)


def heal_torchvision() -> None:
    """Declare torchvision's compiled operators where its wheel was built for another torch.

    They are needed to import it, and never called here.
    """
    import torch

    try:
        import torchvision
    except (RuntimeError, ImportError):
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        heal_torchvision.kept = library  # it ends with the object
        import torchvision  # noqa: F401


def load_here() -> None:
    """Let torch load pictures in this process: a job takes one core, and children of its own that
    idtracker.ai starts would import torchvision unhealed."""
    import torch.utils.data

    class Loader(torch.utils.data.DataLoader):
        def __init__(self, *given, **named) -> None:
            for name in ("num_workers", "persistent_workers", "prefetch_factor"):
                named.pop(name, None)
            super().__init__(*given, **named)

    torch.utils.data.DataLoader = Loader


def shapes(mask) -> list[str]:
    """An arena, (height, width), as the outlines that idtracker.ai takes; holes are left out."""
    import cv2
    import numpy as np

    found, order = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    sides = [("-" if order[0][n][3] >= 0 else "+", each) for n, each in enumerate(found)]
    sides.sort(key=lambda side: side[0] == "-")  # what is cut out comes last
    return [f"{sign} Polygon {each.reshape(-1, 2).tolist()}" for sign, each in sides]


def track(task) -> None:
    """Positions (frames, animals, 2), px, NaN where an animal was not found, into `out`."""
    import numpy as np
    from idtrackerai import Session, conf

    rng = np.random.default_rng(task["seed"])
    seed_all(int(rng.integers(2**31)))
    gpu = task["device"] == "gpu"
    conf.set_parameters(device="" if gpu else "cpu", disable_contrastive=not gpu)
    session = Session()
    left = session.set_parameters(
        name="job",
        video_paths=[task["video"]],
        output_dir=task["folder"],
        number_of_animals=task["animals"],
        intensity_ths=[task["threshold"], 255],
        area_ths=[task["smallest"], float("inf")],
        use_bkg=True,
        background_subtraction_stat="median",
        number_of_parallel_workers=1,
        data_policy="trajectories",
        trajectories_formats=["h5"],
        roi_list=shapes(np.load(task["mask"])) if task["mask"] else None,
    )
    if left:
        raise KeyError(f"Expected settings of idtracker.ai; got {sorted(left)}.")
    from idtrackerai.base.run import RunIdTrackerAi

    RunIdTrackerAi(session).track_video()
    import h5py

    with h5py.File(session.trajectories_folder / "trajectories.h5", "r") as file:
        np.savez(task["out"], positions=file["trajectories"][:])


def seed_all(seed: int) -> None:
    """Seed all that draws at random."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - what idtracker.ai draws from
    torch.manual_seed(seed)


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    logging.basicConfig(level=logging.INFO, handlers=[Stages()])
    heal_torchvision()
    load_here()
    from idtrackerai import IdtrackeraiError

    try:
        track(task)
    except IdtrackeraiError as error:
        say(refused=" ".join(str(error).split()))
        sys.exit(1)
    say(done="track")


if __name__ == "__main__":
    main()
