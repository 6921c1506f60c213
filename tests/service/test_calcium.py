"""Calcium imaging: movies, what is wrong with them, scores, results; suite2p in the slow suite.

The oracle is the generator: cells, traces and motion are known.
"""

import csv
import json
import sys

import h5py
import numpy as np
import pytest
import tifffile

from lanternfish.analyses.calcium import reading, regions, results, truth
from lanternfish.analyses.calcium.generated import Movie, generate
from lanternfish.analyses.calcium.work import rate_of, scale_of, task_of
from lanternfish.service.analyses import Job, load
from lanternfish.service.analyses.requests import check

SHAPE = (60, 40, 48)


@pytest.fixture
def movie():
    return np.random.default_rng(3).integers(20, 900, SHAPE).astype(np.uint16)


def problems(path, **settings):
    found, _ = check(load("calcium"), {"rate": 10.0, **settings}, {"movie": path})
    return [(each.field, each.expected) for each in found]


def kept(path, name="movie", data=None, **attributes):
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=data).attrs.update(attributes)
    return path


def test_formats_give_the_same_frames(movie, tmp_path):
    tifffile.imwrite(tmp_path / "flat.tif", movie, photometric="minisblack")
    tifffile.imwrite(tmp_path / "packed.tif", movie, compression="zlib", photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "imagej.tif", movie, imagej=True, metadata={"axes": "TYX", "finterval": 0.05}
    )
    kept(tmp_path / "h.h5", "a/movie", movie, fs=20.0)
    nwb(tmp_path / "n.nwb", movie)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as sink:
        for frame in movie:
            sink.write(frame)
    for path in sorted(tmp_path.iterdir()):
        source = reading.Source(path)
        header = reading.look(source)
        assert (header.frames, header.height, header.width) == SHAPE, path.name
        assert np.array_equal(np.concatenate(list(reading.frames(source))), movie), path.name
    rates = {p.name: reading.look(reading.Source(p)).rate for p in tmp_path.iterdir()}
    assert rates["imagej.tif"] == pytest.approx(20.0)
    assert rates["h.h5"] == 20.0
    assert rates["n.nwb"] == 15.0
    assert rates["flat.tif"] is None


def nwb(path, movie):
    with h5py.File(path, "w") as file:
        group = file.create_group("acquisition/TwoPhotonSeries")
        group.attrs["neurodata_type"] = "TwoPhotonSeries"
        group["data"] = movie
        group["starting_time"] = 0.0
        group["starting_time"].attrs["rate"] = 15.0


def test_blocks_are_bounded(monkeypatch, movie, tmp_path):
    monkeypatch.setattr(reading, "BLOCK", 7 * 40 * 48 * 4)
    path = kept(tmp_path / "m.h5", data=movie)
    parts = list(reading.frames(reading.Source(path)))
    assert [len(part) for part in parts] == [7] * 8 + [4]
    assert np.array_equal(np.concatenate(parts), movie)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64", "int32"])
def test_values_survive_conversion(dtype, tmp_path):
    draw = np.random.default_rng(0)
    values = (draw.random(SHAPE) * (250 if dtype == "uint8" else 30_000)).astype(dtype)
    path = kept(tmp_path / "m.h5", data=values)
    made = reading.convert(reading.Source(path), tmp_path / "data.bin")
    stored = np.fromfile(tmp_path / "data.bin", np.int16).reshape(SHAPE)
    back = stored * made.scale + made.offset
    exact = dtype in ("uint8", "int16", "uint16")
    assert np.abs(back - values).max() <= (0 if exact else np.ptp(values) / 32_000)


def test_bright_movies_and_nan_are_scaled(tmp_path):
    values = np.random.default_rng(0).integers(0, 65_535, SHAPE).astype(np.uint16)
    made = reading.convert(reading.Source(kept(tmp_path / "b.h5", data=values)), tmp_path / "b.bin")
    back = np.fromfile(tmp_path / "b.bin", np.int16).reshape(SHAPE) * made.scale + made.offset
    assert np.abs(back - values).max() <= made.scale
    values = np.random.default_rng(0).normal(size=SHAPE)
    values[3, 4, 5] = np.nan
    made = reading.convert(reading.Source(kept(tmp_path / "n.h5", data=values)), tmp_path / "n.bin")
    back = np.fromfile(tmp_path / "n.bin", np.int16).reshape(SHAPE) * made.scale + made.offset
    good = np.isfinite(values)
    assert np.abs(back - values)[good].max() <= made.scale


def bad_files(folder, movie):
    """(path, settings, field, words) of each request that is wrong."""
    (folder / "empty.tif").write_bytes(b"")
    yield folder / "empty.tif", {}, "inputs.movie", "empty"
    tifffile.imwrite(folder / "one.tif", movie[0])
    yield folder / "one.tif", {}, "inputs.movie", "one frame"
    yield kept(folder / "one.h5", data=movie[:1]), {}, "inputs.movie", "one frame"
    colour = np.zeros((60, 40, 48, 3), np.uint8)
    tifffile.imwrite(folder / "colour.tif", colour, photometric="rgb")
    yield folder / "colour.tif", {}, "inputs.movie", "colour"
    tifffile.imwrite(folder / "whole.tif", movie, photometric="minisblack")
    cut = (folder / "whole.tif").read_bytes()
    cut = cut[: len(cut) // 2]
    (folder / "cut.tif").write_bytes(cut)
    yield folder / "cut.tif", {}, "inputs.movie", "cut off"
    tifffile.imwrite(folder / "packed.tif", movie, compression="zlib", photometric="minisblack")
    packed = (folder / "packed.tif").read_bytes()
    (folder / "cut2.tif").write_bytes(packed[: len(packed) // 2])
    yield folder / "cut2.tif", {}, "inputs.movie", "copy it again"
    whole = kept(folder / "whole.h5", data=movie).read_bytes()
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
    yield folder / "cut.h5", {}, "inputs.movie", "copy it again"
    turned = np.zeros((64, 64, 300), np.uint16)
    yield kept(folder / "turned.h5", data=turned), {}, "inputs.movie", "frames last"
    yield kept(folder / "turned2.h5", data=turned), {"order": "frames_first"}, "", ""
    white = movie.copy()
    white[:, :20] = 65_535
    yield kept(folder / "white.h5", data=white), {}, "inputs.movie", "cut off"
    yield kept(folder / "white2.h5", data=white), {"saturation": 0.9}, "", ""
    yield kept(folder / "rate.h5", data=movie, fs=30.0), {}, "rate", "30 frames a second"
    yield folder / "rate.h5", {"planes": 3}, "", ""  # a third, as the form says
    yield folder / "rate.h5", {"planes": 2}, "rate", "shared by 2 planes"
    yield folder / "rate.h5", {"planes": 3, "rate": 0.0}, "", ""
    yield kept(folder / "rate2.h5", data=movie, fs=8.0), {}, "rate", "8 frames a second"
    yield kept(folder / "rate3.h5", data=movie), {"rate": 0.0}, "rate", "set it"
    with h5py.File(folder / "two.h5", "w") as file:
        file["a"], file["b"] = movie, movie
    yield folder / "two.h5", {}, "inputs.movie", "Dataset"
    yield folder / "two.h5", {"dataset": "b"}, "", ""
    yield folder / "two.h5", {"dataset": "c"}, "inputs.movie", "a, b"
    yield kept(folder / "flat.h5", data=movie[0]), {}, "inputs.movie", "three axes"
    planes = np.zeros((60, 2, 40, 48), np.uint16)
    tifffile.imwrite(folder / "planes.tif", planes, photometric="minisblack")
    yield folder / "planes.tif", {}, "inputs.movie", "one plane"
    yield kept(folder / "small.h5", data=movie[:, :20, :20]), {}, "inputs.movie", "32 px"
    with h5py.File(folder / "external.nwb", "w") as file:
        group = file.create_group("acquisition/TwoPhotonSeries")
        group.attrs["neurodata_type"] = "TwoPhotonSeries"
        group["data"] = np.zeros((0, 0))
    yield folder / "external.nwb", {}, "inputs.movie", "other files"


def test_each_bad_movie_is_told_in_one_sentence(movie, tmp_path):
    for path, settings, field, words in bad_files(tmp_path, movie):
        found = problems(path, **settings)
        if not field:
            assert not found, (path.name, found)
            continue
        assert [name for name, _ in found] == [field], (path.name, found)
        text = found[0][1]
        assert words in text, (path.name, text)
        assert text.startswith("Expected"), path.name


def test_packing_that_cannot_be_read_here_is_told(monkeypatch, movie, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", movie, compression="zlib", photometric="minisblack")
    lzw = (tmp_path / "a.tif").read_bytes()
    for whole in (8, 32_946):  # both numbers of Deflate; 5 is LZW
        lzw = lzw.replace(
            b"\x03\x01\x03\x00\x01\x00\x00\x00" + whole.to_bytes(2, "little") + b"\x00\x00",
            b"\x03\x01\x03\x00\x01\x00\x00\x00\x05\x00\x00\x00",
        )
    (tmp_path / "lzw.tif").write_bytes(lzw)
    with tifffile.TiffFile(tmp_path / "lzw.tif") as file:
        assert file.pages[0].compression == 5
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", None, raising=False)
    with pytest.raises(reading.MovieError, match=r"LZW.*pip install imagecodecs"):
        reading.look(reading.Source(tmp_path / "lzw.tif"))


def scanimage(path, movie, **told):
    """A TIFF stack as ScanImage describes it."""
    lines = {"SI.hRoiManager.scanFrameRate": 30.0, "SI.VERSION_MAJOR": 2020, **told}
    text = "\n".join(f"{k} = {str(v).lower() if isinstance(v, bool) else v}"
                     for k, v in lines.items())  # fmt: skip
    tifffile.imwrite(path, movie, photometric="minisblack", software=text, metadata=None)
    return path


def test_planes_share_the_rate_of_the_scanner(movie, tmp_path):
    header = reading.look(reading.Source(scanimage(tmp_path / "one.tif", movie)))
    told = {"SI.hStackManager.enable": True, "SI.hStackManager.numSlices": 3,
            "SI.hStackManager.numFramesPerVolumeWithFlyback": 4}  # fmt: skip
    path = scanimage(tmp_path / "more.tif", movie, **told)
    more = reading.look(reading.Source(path))
    assert (header.rate, header.planes) == (30.0, 1)
    assert (more.rate, more.planes) == (30.0, 4)
    settings = load("calcium").settings
    assert rate_of(settings(), header) == 30.0
    assert rate_of(settings(), more) == 7.5
    assert rate_of(settings(planes=2), more) == 15.0
    assert rate_of(settings(rate=7.4), more) == 7.4
    assert problems(path, rate=7.5) == []
    assert problems(path, rate=15.0)[0][0] == "rate"


def test_frames_last_are_turned(tmp_path):
    values = np.random.default_rng(1).integers(0, 99, (64, 64, 200)).astype(np.uint16)
    source = reading.Source(kept(tmp_path / "m.h5", data=values), order="frames last")
    assert reading.look(source).frames == 200
    turned = np.concatenate(list(reading.frames(source)))
    assert np.array_equal(turned, np.moveaxis(values, 2, 0))


def test_known_cells_of_another_movie_are_told(movie, tmp_path):
    path = kept(tmp_path / "m.h5", data=movie)
    known = tmp_path / "known.h5"
    with h5py.File(known, "w") as file:
        file["masks"], file["traces"] = np.zeros((2, 9, 9)), np.zeros((2, 60))
    found, _ = check(load("calcium"), {"rate": 10.0}, {"movie": path, "truth": known})
    assert [each.field for each in found] == ["inputs.truth"]
    known.write_bytes(b"\x89HDF\r\n\x1a\n damaged")
    found, _ = check(load("calcium"), {"rate": 10.0}, {"movie": path, "truth": known})
    assert "HDF5" in found[0].expected


def test_the_generator_keeps_what_it_says():
    movie = Movie(cells=3, frames=300, size=(64, 64), gain=200.0, motion=0.0, amplitude=4.0, seed=1)
    known, frames = generate(movie)
    seen = np.stack(list(frames)).astype(float)
    assert seen.shape == (300, 64, 64)
    for mask, trace in zip(known.masks, known.traces, strict=True):
        assert np.corrcoef(seen[:, mask].mean(1), trace)[0, 1] > 0.98
    decay = known.traces[0] / known.traces[0].min() - 1
    quiet = np.flatnonzero((known.spikes[0][1:] == 0) & (decay[:-1] > 0.3))
    share = decay[quiet + 1] / decay[quiet]
    assert np.allclose(share, np.exp(-1 / (movie.rate * movie.tau)), atol=0.02)
    with pytest.raises(ValueError, match="fit"):
        generate(Movie(cells=500, size=(64, 64)))


def made_regions(movie=None):
    """Regions that are exactly the known cells, and one that is none."""
    known, _ = generate(movie or Movie(cells=6, frames=400, size=(96, 96), seed=2))
    cells, frames = known.traces.shape
    pixels = [np.argwhere(mask) for mask in known.masks] + [np.argwhere(np.eye(96) > 0)]
    raw = np.vstack([100 * known.traces, np.full((1, frames), 100.0)])
    around = np.random.default_rng(0).normal(50, 1, raw.shape).astype(np.float32)
    count = cells + 1
    measures = {
        "snr": np.r_[np.full(cells, 0.8), 0.1],
        "skew": np.r_[np.full(cells, 2.0), 0.0],
        "compactness": np.r_[np.full(cells, 1.0), 3.0],
        "radius": np.full(count, 5.0),
        "pixels": np.array([len(p) for p in pixels]),
    }
    found = regions.Regions(
        pixels,
        [np.ones(len(p), np.float32) for p in pixels],
        [np.ones(len(p), bool) for p in pixels],
        (raw + 0.7 * around).astype(np.float32),
        around,
        np.vstack([known.spikes, np.zeros((1, frames))]).astype(np.float32),
        10.0,
        (96, 96),
        measures,
        np.c_[np.ones(count), np.full(count, 0.9)],
        regions.Motion(np.random.default_rng(1).random((96, 96)), known.shifts.T),
        np.random.default_rng(2).random((96, 96)),
    )
    return found, known


def test_changes_of_brightness_are_those_of_the_cells():
    found, known = made_regions()
    changes = regions.relative(found, 0.7)
    for change, trace in zip(changes, known.traces, strict=False):
        true = trace / trace.min() - 1
        assert np.corrcoef(change, true)[0, 1] > 0.97
    assert np.abs(changes[-1]).max() < 0.2


def test_scores_count_what_is_missed_and_what_is_wrong():
    found, known = made_regions()
    changes = regions.relative(found, 0.7)
    known = truth.Known(known.masks, known.traces)
    all_of_them = truth.score(found, np.arange(7), changes, known)
    assert (all_of_them.recall, all_of_them.precision) == (1.0, 6 / 7)
    some = truth.score(found, np.array([0, 2, 3]), changes, known)
    assert (some.recall, some.precision) == (0.5, 1.0)
    assert some.pairs.tolist() == [[0, 0], [2, 2], [3, 3]]
    none = truth.score(found, np.zeros(0, int), changes, known)
    assert (none.recall, none.precision) == (0.0, 0.0)


def job_of(folder, movie="cells.tif", **settings):
    (folder / "work").mkdir()
    (folder / "out").mkdir()
    model = load("calcium").settings
    return Job(
        inputs={"movie": folder / movie},
        settings=model(**settings),
        seed=0,
        output=folder / "out",
        checkpoint=folder / "work",
        tell=lambda message: None,
    )


def test_results_tell_of_all_regions_and_nwb_passes_the_inspector(tmp_path):
    from nwbinspector import Importance, inspect_nwbfile
    from pynwb import NWBHDF5IO

    found, known = made_regions()
    job = job_of(tmp_path, subject="m1", species="Mus musculus", sex="F", age="P90D",
                 recorded="2026-03-01T14:30", indicator="GCaMP6f", place="VISp")  # fmt: skip
    results.write(job, found, "suite2p 1.1.0")
    with open(job.output / "regions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["accepted"] for row in rows] == ["1"] * 6 + ["0"]
    page = json.loads((job.output / "regions.json").read_text())
    assert len(page["regions"]) == 7
    traces = np.fromfile(job.output / "traces.f32", "<f4").reshape(7, 2, 400)
    assert np.array_equal(traces[:6, 1], known.spikes)
    with open(job.output / "dff.csv", newline="") as file:
        assert np.allclose(np.array(list(csv.reader(file))[1:], float)[:, 1:], traces[:6, 0].T,
                           atol=1e-3)  # fmt: skip
    path = job.output / "calcium.nwb"
    with NWBHDF5IO(path, "r") as io:
        room = io.read().processing["ophys"]
        table = room["ImageSegmentation"]["PlaneSegmentation"]
        assert len(table) == 7
        assert {(int(x), int(y)) for x, y, _ in table["pixel_mask"][0]} == {
            (x, y) for y, x in found.pixels[0].tolist()
        }
        series = room["DfOverF"].roi_response_series["dff"]
        assert np.array_equal(series.data[:].T, traces[:, 0])
    told = [each for each in inspect_nwbfile(nwbfile_path=path)
            if each.importance.value >= Importance.BEST_PRACTICE_VIOLATION.value]  # fmt: skip
    assert not told, told


def test_no_region_at_all_is_a_result(tmp_path):
    empty = {"count": np.zeros(0, int), "shift_y": np.zeros(60), "shift_x": np.zeros(60)}
    images = {"mean": np.ones((40, 48)), "correlation": np.zeros((40, 48))}
    np.savez(tmp_path / "r.npz", **empty, **images)
    job = job_of(tmp_path)
    results.write(job, regions.read_result(tmp_path / "r.npz", 10.0), "suite2p 1.1.0")
    assert "lower the threshold" in (job.output / "report.md").read_text()


def test_a_result_that_holds_pickles_is_not_loaded(tmp_path):
    np.savez(tmp_path / "r.npz", count=np.array([{}], object))
    with pytest.raises(ValueError, match="pickle"):
        regions.read_result(tmp_path / "r.npz", 10.0)


def test_parts_fit_the_picture_and_diameters_have_scales():
    settings = load("calcium").settings(rate=10.0)
    for height, width, side in ((128, 128, 64), (256, 300, 128), (96, 512, 48), (512, 512, 128)):
        header = reading.Header(100, height, width, np.dtype("uint16"))
        assert task_of(settings, header, 10.0)["settings"]["registration.block_size"][0] == side
    small = reading.Header(100, 40, 40, np.dtype("uint16"))
    assert task_of(settings, small, 10.0)["settings"]["registration.nonrigid"] is False
    assert [scale_of(d) for d in (0, 6, 12, 11, 24, 20, 90)] == [0, 1, 2, 2, 3, 3, 4]


def test_outlines_surround_their_region():
    mask = np.zeros((20, 20), bool)
    mask[5:9, 3:12] = True
    line = regions.outline(mask)
    assert np.allclose(line.min(0), [2.5, 4.5])
    assert np.allclose(line.max(0), [11.5, 8.5])
    mask[:] = True
    assert np.allclose(regions.outline(mask).min(0), -0.5)


@pytest.mark.slow
def test_suite2p_finds_the_cells_of_the_demo(tmp_path):
    from lanternfish.service.analyses.local import run_here

    demo = load("calcium").demo
    told = []
    run_here(load("calcium"), demo.settings, demo.inputs, tmp_path / "out", tell=told.append)
    metrics = {e["data"]["name"]: e["data"]["value"] for e in told if e["kind"] == "metric"}
    assert metrics["recall"] >= 0.95
    assert metrics["precision"] >= 0.95
    assert metrics["trace correlation"] >= 0.95
    assert not list((tmp_path / "out" / ".checkpoint").rglob("data.bin"))
    with open(tmp_path / "out" / "shifts.csv", newline="") as file:
        rows = np.array([[float(r["y_px"]), float(r["x_px"])] for r in csv.DictReader(file)])
    with h5py.File(demo.inputs["truth"]) as file:
        true = file["shifts"][()].T
    for axis in range(2):
        assert abs(np.corrcoef(rows[:, axis], true[:, axis])[0, 1]) > 0.9


@pytest.mark.slow
def test_a_movie_without_cells_says_so(tmp_path):
    from lanternfish.service.analyses.local import run_here

    draw = np.random.default_rng(0)
    frames = draw.poisson(20.0, (200, 64, 64)).astype(np.uint16)
    path = kept(tmp_path / "m.h5", data=frames, fs=10.0)
    run_here(load("calcium"), {}, {"movie": path}, tmp_path / "out")
    assert "No region is taken for a cell" in (tmp_path / "out" / "report.md").read_text()
