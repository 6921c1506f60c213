"""Tracking by idtracker.ai: what it is told, what comes of its positions; and a real run, slow."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from lanternfish.analyses import identities
from lanternfish.analyses.behaviour.poses import Poses
from lanternfish.analyses.behaviour.tables import read_positions
from lanternfish.analyses.identities import work
from lanternfish.analyses.tracking import generated, truth
from lanternfish.service.analyses import load
from lanternfish.service.analyses.local import run_here

# imageio-ffmpeg forks to start ffmpeg; nothing of JAX runs in its child
pytestmark = pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")
SCENE = generated.Scene(frames=80, width=160, height=120, lengths=(30.0, 22.0), shades=(40, 90))


@pytest.fixture(scope="module")
def child():
    """The child's file as a module; idtracker.ai is imported by its functions only."""
    spec = importlib.util.spec_from_file_location("idtracker_child", work.SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asked(tmp_path):
    """A video of two fish with their positions, and the truth."""
    places = generated.write(SCENE, tmp_path / "fish.mp4", 6)
    with open(tmp_path / "fish.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["frame", "animal", "x_px", "y_px"])
        for f, frame in enumerate(places):
            for a, (x, y) in enumerate(frame):
                table.writerow([f, f"fish {a}", x, y])
    return {"video": tmp_path / "fish.mp4", "truth": tmp_path / "fish.csv"}, places


def drawn(shapes, size):
    """What idtracker.ai makes of outlines: fills those with + and cuts out those with -."""
    mask = np.zeros(size, np.uint8)
    for line in shapes:
        assert line[1:10] == " Polygon "
        corners = (np.array(eval(line[10:])) + 0.5).astype(np.int32)
        cv2.fillPoly(mask, [corners], int(line[0] == "+"))
    return mask.astype(bool)


def test_an_arena_with_a_hole_is_told_as_outlines(child):
    rows, columns = np.mgrid[:90, :120]
    far = np.hypot(rows - 45, columns - 60)
    mask = (far < 40) & (far > 12)
    mask[:6, :9] = True  # a second part
    got = drawn(child.shapes(mask), mask.shape)
    edge = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) != cv2.erode(
        mask.astype(np.uint8), np.ones((3, 3))
    )
    assert (got == mask)[~edge].all()
    assert (got != mask).sum() < 0.02 * mask.sum()


def named(task, positions):
    np.savez(task["out"], positions=positions)


@pytest.mark.parametrize("swapped", [False, True])
def test_its_positions_are_written_and_names_compared_with_motion(
    asked, tmp_path, monkeypatch, swapped
):
    inputs, places = asked
    given = {}

    def attend(job, program, script, task, hear):
        given.update(task)
        positions = places.copy()
        positions[10:14, 0] = np.nan
        if swapped:
            positions[50:] = positions[50:, ::-1]
        named(task, positions)
        assert hear([{"stage": "learning", "share": 0.4}]) is False
        assert hear([{"done": "track"}]) is True

    monkeypatch.setattr(work, "attend", attend)
    monkeypatch.setattr(work, "python_with", lambda *_: ("python", {}))
    settings = {"arena": "rectangle 2 2 155 115", "labelled_video": False}
    made = run_here(load("identities"), settings, inputs, tmp_path / "out", seed=7)
    assert {"positions.csv", "summary.csv", "report.md", "nwb/animal_1.nwb"} <= set(made)
    assert (given["animals"], given["seed"], given["device"]) == (2, 7, "cpu")
    mask = np.zeros((120, 160), bool)
    mask[2:118, 2:158] = True
    assert (np.load(given["mask"]) != mask).mean() < 0.02
    got, _ = read_positions(tmp_path / "out" / "positions.csv")
    assert np.isnan(got[10:14, 0]).all()
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| none |" in report  # no confidence of a name is stated
    said = float(report.split("the same names in ")[1].split(" %")[0])
    if swapped:
        assert said == pytest.approx(100 * 50 / 80, abs=8)
        assert "they differ longest at 1.7 to 2.6 s" in report
    else:
        assert said == 100
    with open(tmp_path / "out" / "positions.csv", newline="") as file:
        assert {row["identity"] for row in csv.DictReader(file)} == {""}


def test_what_it_refuses_is_a_sentence(asked, tmp_path, monkeypatch):
    def attend(job, program, script, task, hear):
        hear([{"refused": "No animals detected in the video"}])
        raise RuntimeError("idtracker_child ended early")

    monkeypatch.setattr(work, "attend", attend)
    monkeypatch.setattr(work, "python_with", lambda *_: ("python", {}))
    with pytest.raises(ValueError, match=r"Expected a video .*: No animals detected in the video"):
        run_here(load("identities"), {}, asked[0], tmp_path / "out")


def test_agreement_counts_frames_by_the_names_of_the_first():
    way = np.cumsum(np.ones((20, 2, 2)), 0) * [[[1, 0]], [[0, 1]]][0] + [[0, 0], [50, 50]]
    poses = lambda centres: Poses(  # noqa: E731
        centres[:, :, None], np.ones((20, 2, 1)), np.arange(20.0), ("a", "b")
    )
    assert (work.agreement(poses(way), poses(way[:, ::-1])) == 1).all()  # other names all along
    other = way.copy()
    other[12:] = other[12:, ::-1]
    assert work.agreement(poses(way), poses(other)).tolist() == [1] * 12 + [0] * 8
    touching = poses(other)
    touching.confidence[8:12] = 0.5
    seen = work.agreement(poses(way), touching)
    assert np.isnan(seen[8:12]).all()
    assert work._agreed(seen, np.arange(20.0)).startswith(
        "Tracking by motion and size gives the same names in 50.0 % of the 16 frames"
    )
    none = work.agreement(poses(way), poses(np.full_like(way, np.nan)))
    assert "never has all animals apart" in work._agreed(none, np.arange(20.0))


def test_telemetry_is_off_and_the_lock_pins_what_was_measured(child):
    import os

    assert os.environ["IDTRACKERAI_DISABLE_ANALYTICS"] == "1"
    lock = Path(identities.HERE / "requirements.txt").read_text()
    assert "idtrackerai==6.0.14 " in lock
    assert lock.count("--hash=sha256:") >= sum("==" in line for line in lock.splitlines())
    assert "opencv-python==" not in lock  # headless only: never both


@pytest.mark.slow
def test_idtracker_ai_names_two_fish_that_meet(tmp_path):
    """In its own environment: builds it on first use (1.8 GB)."""
    demo = load("identities").demo
    told = []
    made = run_here(
        load("identities"), {**demo.settings, "arena": "rectangle 1 1 217 167"}, demo.inputs,
        tmp_path, tell=lambda event: told.append(event["data"].get("text", "")),
    )  # fmt: skip
    assert {"positions.csv", "labelled.mp4", "report.md", "nwb/animal_2.nwb"} <= set(made)
    known, _ = read_positions(demo.inputs["truth"])
    got, _ = read_positions(tmp_path / "positions.csv")
    score = truth.score(got, known[: len(got)])
    assert score.swaps == 0
    assert score.coverage > 0.85
    assert score.error < 2
    assert any("learning how each animal looks" in text for text in told)
    assert "idtracker.ai 6.0.14" in (tmp_path / "report.md").read_text()
