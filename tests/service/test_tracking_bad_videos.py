"""Videos that are not what they should be, and a disk that is full: told, and nothing lost."""

from __future__ import annotations

import csv
import errno
import os
import subprocess

import numpy as np
import pytest

from lanternfish.analyses.behaviour import labelled
from lanternfish.analyses.behaviour.program_stream import is_cut_off
from lanternfish.analyses.behaviour.tables import read_positions
from lanternfish.analyses.pose.video import VideoError, ffmpeg, look
from lanternfish.analyses.tracking import analysis, generated, request, work
from lanternfish.service.analyses.local import run_here

# imageio-ffmpeg forks to start ffmpeg; nothing of JAX runs in its child
pytestmark = pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")
SCENE = generated.Scene(frames=60, width=160, height=120, lengths=(24.0,), shades=(40,))
GONE = range(20, 35)  # frames that a changing rate leaves out


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A video of one fish, and where it is."""
    path = tmp_path_factory.mktemp("videos") / "good.mp4"
    return path, generated.write(SCENE, path, 2)


def converted(source, path, *options):
    subprocess.run([ffmpeg(), "-v", "error", "-i", source, *options, path], check=True)
    return path


def said(path):
    return [each.expected for each in request.problems_of(analysis.settings(), {"video": path})]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("jpeg.avi", ("-c:v", "mjpeg")),
        ("mpeg4.avi", ("-c:v", "mpeg4")),
        ("copy.mkv", ("-c", "copy")),
        ("parts.mp4", ("-c", "copy", "-movflags", "+frag_keyframe+empty_moov")),
        ("one.mpg", ("-c:v", "mpeg1video", "-f", "mpeg")),
        ("two.mpg", ("-c:v", "mpeg2video", "-bf", "2", "-f", "vob")),
    ],
)
def test_a_video_that_was_cut_off_is_refused_and_the_whole_one_is_not(
    good, tmp_path, name, options
):
    whole = converted(good[0], tmp_path / name, *options)
    assert said(whole) == []
    cut = tmp_path / f"cut {name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    [sentence] = said(cut)
    assert "cut off" in sentence


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_a_program_stream_that_was_cut_between_packets_is_found_out(good, tmp_path, codec):
    whole = converted(good[0], tmp_path / "whole.mpg", "-c:v", codec, "-f", "vob").read_bytes()
    assert not is_cut_off(tmp_path / "whole.mpg")
    assert look(tmp_path / "whole.mpg").frames == SCENE.frames
    cut = tmp_path / "cut.mpg"
    packs = len(whole) // 2048
    found = []
    for pack in np.linspace(packs // 4, packs - 3, 8).astype(int):
        cut.write_bytes(whole[: 2048 * pack])
        found.append(is_cut_off(cut))
    assert sum(found) >= 6, found  # not those that end with a picture, of which nothing is lacking
    assert not is_cut_off(good[0])
    cut.write_bytes(whole[: len(whole) // 2 + 100])
    with pytest.raises(VideoError, match="ends in the middle of a picture"):
        look(cut)


def test_what_is_no_video_is_refused(good, tmp_path):
    jpeg = converted(good[0], tmp_path / "jpeg.avi", "-c:v", "mjpeg").read_bytes()
    (tmp_path / "codec.avi").write_bytes(jpeg.replace(b"MJPG", b"ZQZQ"))
    (tmp_path / "empty.mp4").touch()
    silence = ("-f", "lavfi", "-i", "anullsrc", "-t", "1", "-map", "1:a")
    converted(good[0], tmp_path / "sound.mp4", *silence)
    for name in ("codec.avi", "empty.mp4", "sound.mp4"):
        [sentence] = said(tmp_path / name)
        assert name in sentence
        assert "its codec is missing" in sentence
        assert "ffmpeg -i" in sentence
    converted(good[0], tmp_path / "one.mp4", "-frames:v", "1")
    assert said(tmp_path / "one.mp4") == [
        "Expected two frames or more; got one: a background needs more."
    ]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_changing_frame_rate_is_told_and_times_follow_the_stamps(good, tmp_path, ending):
    cut = f"select='not(between(n,{GONE[0]},{GONE[-1]}))'"
    path = converted(
        good[0], tmp_path / f"a.{ending}", "-vf", cut, "-fps_mode", "passthrough"
    )  # fmt: skip
    assert said(path) == []  # Matroska's header tells of frames that are not there
    run_here(analysis, {"labelled_video": False}, {"video": path}, tmp_path / "out")
    report = (tmp_path / "out" / "report.md").read_text()
    assert "not equally far from each other" in report
    assert "damaged" not in report
    with open(tmp_path / "out" / "positions.csv", newline="") as file:
        times = [float(row["time_s"]) for row in csv.DictReader(file)]
    kept = [n for n in range(SCENE.frames) if n not in GONE]
    np.testing.assert_allclose(times, np.array(kept) / SCENE.rate, atol=2e-3)
    got, _ = read_positions(tmp_path / "out" / "positions.csv")
    assert np.nanmedian(np.linalg.norm(got - good[1][kept], axis=-1)) < 1


def test_frames_that_are_damaged_cost_no_others_and_lost_ones_are_told(good, tmp_path):
    path = converted(good[0], tmp_path / "jpeg.avi", "-c:v", "mjpeg")
    data = bytearray(path.read_bytes())
    pictures = [n for n in range(len(data) - 3) if data[n : n + 3] == b"\xff\xd8\xff"]
    assert len(pictures) == SCENE.frames
    ends = [data.index(b"\xff\xd9", n) + 2 for n in pictures[25:30]]
    for n in pictures[25:30]:
        data[n : n + 200] = bytes(200)
    path.write_bytes(data)
    run_here(analysis, {"labelled_video": False}, {"video": path}, tmp_path / "out")
    got, _ = read_positions(tmp_path / "out" / "positions.csv")
    assert len(got) == SCENE.frames
    others = np.r_[:25, 30 : SCENE.frames]
    assert np.nanmax(np.linalg.norm(got - good[1], axis=-1)[others]) < 2
    for n, end in zip(pictures[25:30], ends, strict=True):
        data[n:end] = bytes(end - n)  # nothing of these frames is left
    path.write_bytes(data)
    [sentence] = said(path)
    assert "damaged" in sentence


def test_a_disk_that_fills_while_detecting_keeps_positions(good, tmp_path, monkeypatch):
    real, calls = work._save, []

    def full(path, state):
        calls.append(len(state["times"]))
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, state)

    monkeypatch.setattr(work, "KEEP", 20)
    monkeypatch.setattr(work, "_save", full)
    settings = {"labelled_video": False}
    with pytest.raises(OSError, match="No space left") as caught:
        run_here(analysis, settings, {"video": good[0]}, tmp_path / "out")
    assert caught.value.errno == errno.ENOSPC  # of which an attempt is made again
    kept, _ = read_positions(tmp_path / "out" / "positions.csv")
    assert len(kept) == 40
    again = run_here(analysis, settings, {"video": good[0]}, tmp_path / "out")
    fresh = run_here(analysis, settings, {"video": good[0]}, tmp_path / "fresh")
    assert again["positions.csv"] == fresh["positions.csv"]


def test_a_disk_that_fills_while_drawing_keeps_all_but_the_video(good, tmp_path, monkeypatch):
    def full(*_, **__):
        for _ in range(30):
            yield
        raise BrokenPipeError(errno.EPIPE, "the encoder has ended")

    def begun(*arguments, **named):
        sink = full(*arguments, **named)
        sink.send(None)
        return sink

    monkeypatch.setattr(labelled, "encoder", begun)
    monkeypatch.setattr(labelled, "FULL", 2**62)
    with pytest.raises(OSError, match="labelled video could not be written") as caught:
        run_here(analysis, {}, {"video": good[0]}, tmp_path / "out")
    assert caught.value.errno == errno.ENOSPC
    assert (tmp_path / "out" / "report.md").exists()
    assert len(read_positions(tmp_path / "out" / "positions.csv")[0]) == SCENE.frames
