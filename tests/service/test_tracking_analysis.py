"""Tracking without labels: generated fish with known truth, for real; and what is refused."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from lanternfish.analyses.behaviour import measures
from lanternfish.analyses.behaviour.tables import read_positions, write_columns
from lanternfish.analyses.tracking import (
    analysis,
    arena,
    detection,
    generated,
    identity,
    linking,
    reading,
    truth,
    work,
)
from lanternfish.service.analyses.local import RequestError, run_here

# imageio-ffmpeg forks to start ffmpeg; nothing of JAX runs in its child
pytestmark = pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")
LIMIT = 0.5  # px: a pixel's half; anti-aliasing and compression blur the edge by less
APART = generated.Scene(frames=90, width=200, height=140, cross=False)


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """A video of two fish in compartments, and the truth."""
    path = tmp_path_factory.mktemp("videos") / "apart.mp4"
    places = generated.write(APART, path, 1)
    return path, places


def request_of(folder, path, **settings):
    values = {"animals": 2, "labelled_video": False, **settings}
    return run_here(analysis, values, {"video": path}, folder)


def problem_of(path, folder, **settings):
    with pytest.raises(RequestError) as caught:
        request_of(folder, path, **settings)
    return caught.value.problems[0]


def test_two_fish_apart_are_found_where_they_are(apart, tmp_path):
    path, places = apart
    found = request_of(
        tmp_path, path, labelled_video=True, regions={"all": "rectangle 0 0 200 140"}
    )
    assert "labelled.mp4" in found
    header = reading.read_header(tmp_path / "labelled.mp4")
    assert (header.frames, header.width, header.height) == (90, 200, 140)
    centres, names = read_positions(tmp_path / "positions.csv")
    assert names == ("animal 1", "animal 2")
    got = truth.score(centres, places)
    assert (got.coverage, got.swaps) == (1.0, 0)
    assert got.error < LIMIT
    assert max(map(abs, got.offset)) < 0.1
    with open(tmp_path / "regions.csv", newline="") as file:
        for row in csv.DictReader(file):
            assert float(row["time_s"]) == pytest.approx(3.0, abs=0.01)


def test_nwb_holds_the_positions_of_the_table(apart, tmp_path):
    import ndx_pose  # noqa: F401 - registers its types
    import pynwb

    request_of(tmp_path, apart[0])
    centres, _ = read_positions(tmp_path / "positions.csv")
    for a in range(2):
        with pynwb.NWBHDF5IO(tmp_path / "nwb" / f"animal_{a + 1}.nwb", "r") as io:
            pose = io.read().processing["behavior"]["PoseEstimation"]
            series = pose.pose_estimation_series["centre"]
            np.testing.assert_allclose(series.data[:], centres[:, a], atol=1e-3)
            assert series.rate == pytest.approx(30.0)
            assert pose.source_video.external_file[0] == "apart.mp4"


def test_a_cancelled_job_keeps_its_positions_and_goes_on_alike(apart, tmp_path, monkeypatch):
    path, _ = apart
    whole = request_of(tmp_path / "whole", path)
    real = reading.grey_frames

    def cut(path, start=0):
        for number, each in enumerate(real(path, start), start):
            if number == 70:
                raise KeyboardInterrupt
            yield each

    monkeypatch.setattr(work, "KEEP", 25)
    monkeypatch.setattr(reading, "grey_frames", cut)
    with pytest.raises(KeyboardInterrupt):
        request_of(tmp_path / "cut", path)
    kept, _ = read_positions(tmp_path / "cut" / "positions.csv")
    assert kept.shape == (70, 2, 2)
    started = []

    def watched(path, start=0):
        started.append(start)
        return real(path, start)

    monkeypatch.setattr(reading, "grey_frames", watched)
    again = request_of(tmp_path / "cut", path)
    assert started[0] == 50
    assert again["positions.csv"] == whole["positions.csv"]


def test_damaged_files_are_refused_in_a_sentence(apart, tmp_path):
    path, _ = apart
    cases = {"empty.mp4": b"", "text.mp4": b"no video" * 100}
    cases["cut.mp4"] = path.read_bytes()[: path.stat().st_size // 2]
    for name, content in cases.items():
        bad = tmp_path / name
        bad.write_bytes(content)
        found = problem_of(bad, tmp_path / "out")
        assert found.field == "inputs.video"
        assert "cannot be opened" in found.expected


@pytest.mark.parametrize(
    ("settings", "field", "text"),
    [
        ({"arena": "circle 100 70 90"}, "arena", "inside of the frame"),
        ({"arena": "star 1 2 3"}, "arena", "polygon"),
        ({"regions": {"a": "rectangle 0 0 -5 5"}}, "regions.a", "rectangle"),
        ({"smallest": 50, "largest": 20}, "largest", "more than the smallest"),
    ],
)
def test_shapes_and_sizes_are_checked_before_queueing(apart, tmp_path, settings, field, text):
    found = problem_of(apart[0], tmp_path / "out", **settings)
    assert found.field == field
    assert text in found.expected


def test_known_positions_of_another_number_of_animals_are_refused(apart, tmp_path):
    known = tmp_path / "known.csv"
    write_columns(known, ["frame", "animal", "x_px", "y_px"], [[0, "a", 1.0, 2.0]])
    with pytest.raises(RequestError, match="positions of 2 animals; got 1"):
        run_here(analysis, {"animals": 2}, {"video": apart[0], "truth": known}, tmp_path / "out")


def test_a_video_in_which_nothing_moves_says_so(tmp_path):
    still = generated.Scene(frames=20, width=120, height=100, lengths=(), shades=())
    generated.write(still, tmp_path / "still.mp4", 0)
    with pytest.raises(ValueError, match="animals that move"):
        request_of(tmp_path / "out", tmp_path / "still.mp4", animals=1)


def test_more_animals_than_said_are_reported(apart, tmp_path):
    request_of(tmp_path, apart[0], animals=1)
    assert "more blobs of an animal's size" in (tmp_path / "report.md").read_text()


def test_an_arena_leaves_out_what_is_outside(apart, tmp_path):
    request_of(tmp_path, apart[0], animals=1, arena="rectangle 0 0 99 140")
    centres, _ = read_positions(tmp_path / "positions.csv")
    assert np.nanmax(centres[..., 0]) < 100


def meeting(swapped: bool):
    """Tracks of two animals of different looks that merge; named rightly or not afterwards."""
    frames, rng = 200, np.random.default_rng(0)
    line = np.arange(frames, dtype=float)
    places = np.stack([np.stack([line, 0 * line], 1), np.stack([200 - line, 0 * line], 1)], 1)
    looks = np.tile([[16.0, 120.0], [12.0, 90.0]], (frames, 1, 1))
    looks += 0.3 * rng.standard_normal(looks.shape)
    states = np.full((frames, 2), linking.ALONE)
    states[95:106] = linking.MERGED
    if swapped:
        places[106:], looks[106:] = places[106:, ::-1].copy(), looks[106:, ::-1].copy()
    looks[95:106] = np.nan
    groups = np.zeros((frames, 2), int)
    return {"positions": places, "states": states, "looks": looks, "groups": groups}


@pytest.mark.parametrize("swapped", [False, True])
def test_looks_and_motion_decide_who_is_who_after_a_merger(swapped):
    found = identity.resolve(meeting(swapped))
    assert found.order[-1].tolist() == ([1, 0] if swapped else [0, 1])
    assert found.confidence[-1].min() > 0.99
    assert len(found.mergers) == 1


def test_animals_of_one_look_that_leave_one_place_are_a_guess():
    tracks = meeting(False)
    tracks["looks"][:] = 14.0
    tracks["looks"][95:106] = np.nan
    tracks["positions"][106:] = tracks["positions"][106:].mean(1, keepdims=True)
    assert identity.resolve(tracks).confidence[-1] == pytest.approx([0.5, 0.5], abs=0.01)


def test_k_means_divides_a_blob_of_two_squares():
    square = np.argwhere(np.ones((5, 5))).astype(float)
    pixels = np.concatenate([square, square + np.array([6, 0])])
    centres = linking.divide(pixels, np.array([[1.0, 1.0], [9.0, 3.0]]))
    np.testing.assert_allclose(centres, [[2, 2], [8, 2]])


def test_speed_and_occupancy_follow_time_stamps():
    times = np.array([0.0, 0.1, 0.4, 0.5])
    centres = (50 * times)[:, None, None] * np.array([1.0, 0.0])
    np.testing.assert_allclose(measures.speeds(centres, times), 50.0)
    grid = measures.occupancy(centres, times, (40, 10), 10.0)[0]
    assert grid.sum() == pytest.approx(0.6)  # the last frame counts as the median interval
    assert grid.shape == (1, 4)


def test_a_light_animal_and_a_mask_of_a_circle():
    mask = arena.mask_of(arena.outline("circle 50 50 30"), 100, 100)
    assert mask.sum() == pytest.approx(np.pi * 900, rel=0.05)
    frames = np.full((9, 100, 100), 30, np.uint8)
    for n, frame in enumerate(frames):
        frame[50:56, 24 + 5 * n : 30 + 5 * n] = 200
    how = detection.suggest(frames, mask, 1, "light")
    centres = np.concatenate([detection.detect(frame, how).centres for frame in frames])
    np.testing.assert_allclose(centres, [[26.5 + 5 * n, 52.5] for n in range(9)])
