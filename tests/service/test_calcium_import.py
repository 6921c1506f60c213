"""Folders of suite2p: what is read, what is refused, and that nothing in them is run.

The oracle is NumPy's own reader on files that NumPy wrote, and the generator's known cells.
"""

import datetime
import io
import json
import os
import pathlib
import pickle
import shutil
import zipfile

import h5py
import numpy as np
import pytest

from lanternfish.analyses.calcium.foreign import ForeignError, read_plane
from lanternfish.analyses.calcium.generated import Movie, write_suite2p
from lanternfish.analyses.calcium.pickled import Machine, PickledError, plain, read_objects
from lanternfish.service.analyses import load
from lanternfish.service.analyses.local import run_here
from lanternfish.service.analyses.requests import check

MOVIE = Movie(cells=8, frames=400, size=(80, 96), gain=60.0, seed=5)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A zip as suite2p would write it, and what is known of it."""
    path = tmp_path_factory.mktemp("suite2p") / "suite2p.zip"
    return path, write_suite2p(MOVIE, path)


@pytest.fixture
def folder(packed, tmp_path):
    """The folder of a plane, to be changed."""
    with zipfile.ZipFile(packed[0]) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "suite2p" / "plane0"


def problems(path, **settings):
    found, _ = check(load("calcium_import"), settings, {"results": path})
    return [(each.field, each.expected) for each in found]


class Runs:
    """What a stranger might hide in a file: loaded as a pickle, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


VALUES = {
    "pixels": np.arange(7, dtype=np.int32), "big": np.arange(4, dtype=">f8"),
    "turned": np.asfortranarray(np.arange(12.0).reshape(3, 4)), "none": np.zeros((0, 3)),
    "flags": np.array([True, False]), "scalar": np.float32(1.5), "whole": np.int64(-3),
    "text": "ä", "words": np.array(["a", "bcd"]), "huge": 2**70, "nothing": None,
    "pair": (1, [2.5, "b"]), "deep": {"inner": [np.ones(2)]}, "bytes": b"xy",
    "objects": np.array([[1, 2]], object).T,
}  # fmt: skip


def same(read, wanted):
    read = plain(read)
    if isinstance(wanted, dict):
        return read.keys() == wanted.keys() and all(same(read[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list | tuple):
        return type(read) is type(wanted) and all(map(same, read, wanted))
    if isinstance(wanted, np.ndarray | np.generic):
        return read.dtype == wanted.dtype and np.array_equal(read, wanted)
    return type(read) is type(wanted) and read == wanted


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_is_read_is_what_was_written(protocol):
    assert same(Machine().run(pickle.dumps(VALUES, protocol)), VALUES)
    kept = io.BytesIO()
    np.save(kept, np.array([VALUES, VALUES], object))
    kept.seek(0)
    assert all(same(each, VALUES) for each in read_objects(kept, "x.npy"))


def test_dates_and_paths_are_passed_over():
    kept = io.BytesIO()
    told = {"fs": 9.0, "when": datetime.datetime.now().astimezone(), "where": pathlib.Path("/x")}
    np.save(kept, np.array(told, object))
    kept.seek(0)
    found = read_objects(kept, "ops.npy")
    assert found["fs"] == 9.0
    assert found["when"].kind == "datetime.datetime"


def evil(path):
    """Pickles that call, import, or lie of their size."""
    yield "mkdir", pickle.dumps(Runs(path))
    yield "mkdir", pickle.dumps([np.ones(2), {"a": Runs(path)}], 2)
    yield "eval", b"cbuiltins\neval\n(Vopen('%s','w')\ntR." % str(path).encode()
    yield "INST", b"(S'touch'\nios\nsystem\n."
    yield "a call", pickle.dumps(len)[:-1] + b")R."  # of what is no name of an array
    yield "state", b"cnumpy\nndarray\n}(Va\nI1\nub."
    head = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    kind = b"cnumpy\ndtype\n(Vf8\nI0\nI1\ntR(I3\nV<\nNNNI-1\nI-1\nI0\ntb"
    yield "number of bytes", head + b"(I1\n(I9999\nt" + kind + b"I00\nC\x04abcdtb."
    yield "fields", head + b"(I1\n(I1\nt" + kind.replace(b"NNN", b"NV1\nN") + b"I00\nNtb."
    yield "shape", head + b"(I1\n(I-1\nt" + kind + b"I00\nC\x00tb."
    yield "damaged", pickle.dumps(VALUES)[:-20]
    yield "damaged", b"R."
    yield "damaged", b"t."
    yield "damaged", b"h\x09."
    yield "PERSID", b"Pname\n."


def test_nothing_in_a_file_is_run_and_lies_are_found_out(folder, tmp_path):
    made = tmp_path / "made"
    for words, data in evil(made):
        with pytest.raises(PickledError) as told:
            Machine().run(data)
        assert words in str(told.value) or words in ("a call", "damaged"), (words, told.value)
        for name in ("stat.npy", "ops.npy"):
            kept = (folder / name).read_bytes()
            head = kept[: 10 + int.from_bytes(kept[8:10], "little")]
            (folder / name).write_bytes(head + data)
            ((field, text),) = problems(folder)
            assert (field, text.count("Expected")) == ("inputs.results", 1)
            assert name in text
            (folder / name).write_bytes(kept)
        assert not made.exists()
    pickle.loads(pickle.dumps(Runs(made)))  # what would have happened
    assert made.is_dir()


def test_a_folder_and_a_zip_of_it_are_read_alike(packed, folder):
    path, known = packed
    for each in (path, folder, folder.parent, folder.parent.parent):
        found = read_plane(each).regions
        assert len(found) == 10
        assert (found.size, found.rate, found.frames) == ((80, 96), 10.0, 400)
        assert all(np.array_equal(found.mask(k), known.masks[k]) for k in range(8))
        assert np.array_equal(found.raw, np.load(folder / "F.npy"))
        assert np.array_equal(found.motion.shifts, np.rint(known.shifts.T))
        assert found.classified[:, 0].tolist() == [1] * 8 + [0] * 2
        assert (found.measures["skew"][:8] > 0.8).all()
        assert (found.measures["compactness"][:8] < 1.1).all()
        assert (found.measures["compactness"][8:] > 2).all()
        assert (found.measures["snr"][:8] > found.measures["snr"][8:].max() + 0.2).all()


def test_files_of_newer_versions_and_without_options_are_read(folder):
    options = np.load(folder / "ops.npy", allow_pickle=True).item()
    (folder / "ops.npy").unlink()
    bare = read_plane(folder).regions
    assert (bare.rate, len(bare.motion.shifts), bare.motion.mean.max()) == (0.0, 0, 0.0)
    assert bare.size[0] <= 80
    assert problems(folder) == [("rate", problems(folder)[0][1])]
    assert problems(folder, rate=10.0) == []
    parts = {"db": ("Ly", "Lx"), "settings": ("fs", "tau"), "detect_outputs": ("Vcorr",)}
    for name, keys in parts.items():
        np.save(folder / f"{name}.npy", {key: options[key] for key in keys})
    map_ = options["Vcorr"][5:70, 7:90]
    np.save(folder / "detect_outputs.npy", {"Vcorr": map_})
    np.save(folder / "reg_outputs.npy", {"meanImg": options["meanImg"], "yoff": options["yoff"],
            "xoff": options["xoff"], "yrange": [5, 70], "xrange": [7, 90],
            "yoff1": np.ones((400, 4)), "xoff1": -2 * np.ones((400, 4))})  # fmt: skip
    found = read_plane(folder).regions
    assert (found.size, found.rate) == ((80, 96), 10.0)
    assert np.array_equal(found.correlation[5:70, 7:90], map_)
    assert found.correlation[:5].max() == 0
    assert found.motion.local[0].tolist() == [1.0, 2.0]


def test_results_that_do_not_fit_are_told_in_one_sentence(folder, tmp_path):
    def told(path, **settings):
        ((field, text),) = problems(path, **settings)
        assert text.startswith("Expected"), text
        return field, text

    assert told(folder, rate=30.0)[0] == "rate"
    shutil.copytree(folder, folder.parent / "plane1")
    field, text = told(folder.parent)
    assert field == "plane"
    assert "plane0, plane1" in text
    assert problems(folder.parent, plane=1) == []
    assert "results in plane0, plane1: set Plane" in told(folder.parent, plane=7)[1]
    (tmp_path / "text.txt").write_text("no zip")
    assert "neither" in told(tmp_path / "text.txt")[1]
    (tmp_path / "empty").mkdir()
    assert "there are none" in told(tmp_path / "empty")[1]
    np.save(folder / "Fneu.npy", np.zeros((3, 400)))
    assert "different runs" in told(folder)[1]
    (folder / "Fneu.npy").unlink()
    np.save(folder / "iscell.npy", np.zeros((3, 2)))
    assert "another run" in told(folder)[1]
    (folder / "iscell.npy").unlink()
    assert problems(folder) == []
    np.save(folder / "F.npy", np.zeros((9, 400)))
    assert "different runs" in told(folder)[1]
    (folder / "spks.npy").unlink()
    assert "as many regions" in told(folder)[1]
    np.save(folder / "F.npy", np.array([{}], object))
    assert "(regions, frames)" in told(folder)[1]
    (folder / "F.npy").write_bytes((folder.parent / "plane1" / "F.npy").read_bytes()[:-9])
    assert "cut off" in told(folder)[1]
    plane = folder.parent / "plane1"
    np.save(plane / "ops.npy", {"Ly": 40, "Lx": 96, "fs": 10.0})
    assert "within 96 x 40 px" in told(plane)[1]
    stat = np.load(plane / "stat.npy", allow_pickle=True)
    stat[0]["ypix"] = stat[0]["ypix"] - 90
    np.save(plane / "stat.npy", stat)
    (plane / "ops.npy").unlink()
    assert "within" in told(plane, rate=10.0)[1]


def test_a_damaged_zip_and_links_are_told(packed, folder, tmp_path):
    data = bytearray(packed[0].read_bytes())
    data[300:400] = bytes(100)
    (tmp_path / "bad.zip").write_bytes(data)
    with pytest.raises(ForeignError, match="Expected"):
        read_plane(tmp_path / "bad.zip")
    (folder / "F.npy").rename(tmp_path / "elsewhere.npy")
    (folder / "F.npy").symlink_to(tmp_path / "elsewhere.npy")
    with pytest.raises(ForeignError, match="there are none"):
        read_plane(folder)


def test_an_import_gives_what_an_analysis_gives(packed, folder, tmp_path):
    told = []
    inputs = {"results": folder, "truth": packed[0].with_suffix(".truth.h5")}
    made = run_here(load("calcium_import"), {}, inputs, tmp_path / "out", tell=told.append)
    assert {"calcium.nwb", "regions.csv", "dff.csv", "traces.f32", "shifts.csv"} <= set(made)
    metrics = {e["data"]["name"]: e["data"]["value"] for e in told if e["kind"] == "metric"}
    assert (metrics["recall"], metrics["precision"]) == (1.0, 1.0)
    assert metrics["trace correlation"] > 0.97
    page = json.loads((tmp_path / "out" / "regions.json").read_text())
    assert page["own"] is True
    assert [each["is_cell"] for each in page["regions"]] == [True] * 8 + [False] * 2
    with h5py.File(tmp_path / "out" / "calcium.nwb") as file:
        table = file["processing/ophys/ImageSegmentation/PlaneSegmentation"]
        assert table["accepted"][()].tolist() == [True] * 8 + [False] * 2
