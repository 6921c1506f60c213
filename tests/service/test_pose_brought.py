"""Labels of COCO and DeepLabCut, written here as those programs write them."""

import csv
import json

import pytest

from lanternfish.analyses.pose import synthetic
from lanternfish.analyses.pose.brought import read_any
from lanternfish.analyses.pose.labels import Labels, LabelsError, Skeleton

NAMES = ("nose", "tail")
ANIMALS = {12: (((10.5, 20.0), (30.0, 40.0)),), 40: (((1.0, 2.0), None), ((5.0, 6.0), (7.0, 8.0)))}
EXPECTED = Labels(Skeleton(NAMES, ((0, 1),)), ANIMALS, {"width": 64, "height": 48})


def coco():
    told = {"images": [], "annotations": [], "categories": []}
    told["categories"].append({"id": 1, "keypoints": list(NAMES), "skeleton": [[1, 2]]})
    for number, (frame, animals) in enumerate(ANIMALS.items()):
        name = f"cage/day2_{frame:05d}.png"
        told["images"].append({"id": number, "file_name": name, "width": 64, "height": 48})
        for animal in animals:
            flat = [v for p in animal for v in ((*p, 2) if p else (0, 0, 0))]
            told["annotations"].append({"image_id": number, "category_id": 1, "keypoints": flat})
    return told


def written(path, told):
    path.write_text(json.dumps(told))
    return path


def deeplabcut(path, cells, several, video="cage"):
    """CollectedData, the image in one cell or in three; of one animal or of several."""
    animals = ("one", "two") if several else ("one",)
    columns = [(a, p, k) for a in animals for p in NAMES for k in "xy"]
    pad = [""] * (cells - 1)
    rows = [["scorer", *pad, *["me"] * len(columns)]]
    if several:
        columns += [("single", "corner", k) for k in "xy"]
        rows[0] += ["me", "me"]
        rows.append(["individuals", *pad, *(a for a, _, _ in columns)])
    rows.append(["bodyparts", *pad, *(p for _, p, _ in columns)])
    rows.append(["coords", *pad, *(k for _, _, k in columns)])
    for frame, those in ANIMALS.items():
        place = ["labeled-data", video, f"img{frame:04d}.png"]
        row = place if cells == 3 else ["/".join(place)]
        for a, p, k in columns:
            animal = those[animals.index(a)] if a in animals[: len(those)] else None
            point = animal[NAMES.index(p)] if animal else None
            row = [*row, str(point["xy".index(k)]) if point else ("3.0" if a == "single" else "")]
        rows.append(row)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_coco_keypoints(tmp_path):
    assert read_any(written(tmp_path / "a.json", coco()), "cage.mp4") == EXPECTED


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("several", [False, True])
def test_collected_data_of_deeplabcut(tmp_path, cells, several):
    got = read_any(deeplabcut(tmp_path / "CollectedData_me.csv", cells, several), "cage.mp4")
    assert got.skeleton == Skeleton(NAMES)
    wanted = ANIMALS if several else {f: animals[:1] for f, animals in ANIMALS.items()}
    assert got.frames == wanted


def test_labels_of_our_own_page_are_read_as_before(tmp_path):
    truth = synthetic.poses(9, 1, (64, 48), 0)
    labels = synthetic.labels_of(truth, range(9), {})
    labels.write(tmp_path / "labels.json")
    assert read_any(tmp_path / "labels.json") == labels


def test_of_several_videos_that_of_the_folder_is_taken(tmp_path):
    told = coco()
    told["images"].append({"id": 9, "file_name": "other/img0012.png", "width": 9, "height": 9})
    path = written(tmp_path / "a.json", told)
    assert read_any(path, "cage.mp4") == EXPECTED
    with pytest.raises(LabelsError, match=r"a folder named third; got folders cage, other"):
        read_any(path, "third.mp4")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["annotations"][0]["keypoints"].append(1), "of another skeleton"),
        (lambda t: t["categories"].append({"id": 2, "keypoints": ["a"]}), "one skeleton; got 2"),
        (lambda t: t["categories"].clear(), "one skeleton; got 0"),
        (lambda t: t["images"][0].update(file_name="cage/first.png"), "number of the frame"),
        (lambda t: t["images"][0].update(file_name="cage/a00040.png"), "the same number"),
        (lambda t: t.pop("images"), "as COCO describes them"),
        (lambda t: t["categories"][0].update(skeleton=[[1, 9]]), "pairs of two"),
    ],
)
def test_coco_that_is_wrong_says_where(tmp_path, change, words):
    told = coco()
    change(told)
    with pytest.raises(LabelsError, match=words):
        read_any(written(tmp_path / "a.json", told), "cage.mp4")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("coords", "things", "another kind of table"),
        ("img0012", "first", "number of the frame"),
        ("10.5", "left", "nose in frame 12"),
        ("30.0,40.0", "30.0", "cells in each row"),
        (",x,y,x,y", ",x,y,likelihood,y", "holds predictions"),
    ],
)
def test_collected_data_that_is_wrong_says_where(tmp_path, old, new, words):
    path = deeplabcut(tmp_path / "a.csv", 1, False)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(LabelsError, match=words):
        read_any(path, "cage.mp4")
