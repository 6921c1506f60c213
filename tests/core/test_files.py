"""Files are whole or absent, at a path or a URL; damaged ones are named."""

import errno
import os
import uuid

import numpy as np
import pytest

from lanternfish.core import DamagedFile, Folder

ARRAYS = {"theta": np.arange(6.0).reshape(2, 3), "status": np.array([0, 1], np.int8)}


@pytest.fixture(params=["path", "memory"])
def folder(request, tmp_path):
    name = uuid.uuid4().hex
    return Folder(str(tmp_path / name) if request.param == "path" else f"memory://{name}")


def test_absent_folder_is_empty(folder):
    assert folder.names() == []
    assert not folder.exists("a.json")


def test_round_trips(folder):
    value = {"name": "stg", "rounds": [1, 2.5, None], "µ": "Ω"}
    folder.write_json("run.json", value)
    folder.write_arrays("shard.npz", ARRAYS)
    folder.write_weights("flow.safetensors", ARRAYS)
    assert folder.names() == ["flow.safetensors", "run.json", "shard.npz"]
    assert folder.read_json("run.json") == value
    for read in (folder.read_arrays("shard.npz"), folder.read_weights("flow.safetensors")):
        assert read.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert read[name].dtype == array.dtype
            np.testing.assert_array_equal(read[name], array)


def test_write_replaces_and_remove_removes(folder):
    folder.write("a", b"1")
    folder.write("a", b"2")
    assert folder.read("a") == b"2"
    folder.remove("a")
    assert folder.names() == []


def test_folders_inside(folder):
    inner = folder / "simulations"
    inner.write("a", b"1")
    assert inner.names() == ["a"]
    assert folder.names() == ["simulations"]
    assert (folder / "simulations").read("a") == b"1"


@pytest.mark.parametrize("kept", [0, 1, 40])
def test_damaged_files_are_named(folder, kept):
    folder.write_json("run.json", {"a": list(range(100))})
    folder.write_arrays("shard.npz", ARRAYS)
    folder.write_weights("flow.safetensors", ARRAYS)
    readers = {
        "run.json": folder.read_json,
        "shard.npz": folder.read_arrays,
        "flow.safetensors": folder.read_weights,
    }
    for name, read in readers.items():
        folder.write(name, folder.read(name)[:kept])
        with pytest.raises(DamagedFile, match=rf"^Expected a whole file {name} .+; got .+\.$"):
            read(name)


def test_bytes_that_are_no_text_are_damaged(folder):
    folder.write("run.json", b"\xff\xfe\x00\x80")
    with pytest.raises(DamagedFile, match=r"^Expected a whole file run\.json"):
        folder.read_json("run.json")


def test_absent_file_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"^Expected the file run\.json .+; got none"):
        folder.read_json("run.json")


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    folder = Folder(str(tmp_path))
    folder.write("a", b"whole")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"^.+Expected to write 5 bytes .+; got 'No") as caught:
        folder.write("a", b"other")
    assert caught.value.errno == errno.ENOSPC
    assert folder.read("a") == b"whole"
    assert os.listdir(tmp_path) == ["a"]


def test_nothing_is_pickled(folder):
    with pytest.raises(TypeError, match=r"^Expected arrays .+; got objects in a\.$"):
        folder.write_arrays("a.npz", {"a": np.array([object()])})
    assert folder.names() == []


def test_nan_is_not_json(folder):
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("a.json", float("nan"))
    assert folder.names() == []


def test_unknown_protocol_is_named():
    with pytest.raises(ValueError, match=r"^Expected a path or fsspec URL; got .+\.$"):
        Folder("nowhere://bucket/run").names()
