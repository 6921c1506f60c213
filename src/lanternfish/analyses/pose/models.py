"""A trained model as one ZIP file: two networks, of each its weights and what it was trained with.

    centroid/best.ckpt  centroid/training_config.yaml  instance/best.ckpt  instance/...

Weights are those of the epoch with the least loss on frames that were not learnt. What they hold is
looked at in the child before it is used (`sleap_child.safe`).
"""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

from lanternfish.service.analyses import Job

PARTS = ("centroid", "instance")
KEPT = ("best.ckpt", "training_config.yaml")  # of a network
MOST_MODEL = 2 * 10**9  # bytes of an unpacked model


def members(path: Path) -> list[zipfile.ZipInfo]:
    """What belongs to a model in its ZIP file.

    Raises:
        ValueError: it is no model of ours.
    """
    wanted = {f"{part}/{name}" for part in PARTS for name in KEPT}
    try:
        with zipfile.ZipFile(path) as archive:
            found = [each for each in archive.infolist() if each.filename in wanted]
    except zipfile.BadZipFile:
        raise ValueError(f"Expected a ZIP file; {path.name} is damaged.") from None
    missing = wanted - {each.filename for each in found}
    if missing:
        raise ValueError(f"Expected the model.zip of a job; it lacks {', '.join(sorted(missing))}.")
    if sum(each.file_size for each in found) > MOST_MODEL:
        raise ValueError("Expected a model of less than 2 GB.")
    return found


def unpack(path: Path, folder: Path) -> None:
    """Write a model's files under a folder; nothing else of the ZIP file."""
    with zipfile.ZipFile(path) as archive:
        for each in members(path):
            archive.extract(each, folder)


def pack(folder: Path, out: Path) -> None:
    """Write a model, whole or not at all."""
    fresh = out.with_name(f".{out.name}")
    with zipfile.ZipFile(fresh, "w") as archive:  # weights do not get smaller by packing
        for part in PARTS:
            for name in KEPT:
                archive.write(folder / part / name, f"{part}/{name}")
    fresh.replace(out)


def keep(job: Job, folder: Path) -> None:
    """Of a training that ended early: keep the best weights so far, and say so."""
    if not all(_whole(folder / part) for part in PARTS):
        job.log(
            "Ended early: no model is kept, as one of the two networks had not finished an epoch. "
            "The same job goes on after its last epoch, if it is not cancelled but killed."
        )
        return
    pack(folder, job.output / "model.zip")
    first, second = (_epochs(folder / part) for part in PARTS)
    job.log(
        f"Ended early: model.zip holds the best weights so far, of {first} and {second} "
        f"{'epoch' if second == 1 else 'epochs'}. "
        "Nothing was held against labels yet: start a job with this model to see what it finds."
    )


def _whole(place: Path) -> bool:
    """Whether a network's files are there, and its weights (themselves a ZIP file) not cut off."""
    there = all((place / name).is_file() for name in KEPT)
    return there and zipfile.is_zipfile(place / KEPT[0])


def _epochs(place: Path) -> int:
    """Epochs that were held against the frames not learnt; the first has no loss of its own yet."""
    log = place / "training_log.csv"
    if not log.is_file():
        return 0
    with open(log, newline="", encoding="utf-8") as file:
        return sum(bool(row.get("val/loss") or row.get("val_loss")) for row in csv.DictReader(file))
