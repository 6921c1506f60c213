"""Shards: whole or absent, gone on from, and never mixed with those of something else."""

import json
import os
import resource
import shutil
import subprocess

import fsspec
import numpy as np
import pytest
import specimens

import lanternfish as lf
from lanternfish.core import DamagedFile, Folder
from lanternfish.simulation import SimulationError, campaign, open_store

N, SIZE = 100, 16


def same(one, other):
    return all(
        np.array_equal(v, other.arrays()[k], equal_nan=True) for k, v in one.arrays().items()
    )


@pytest.fixture
def counted(prior):
    """A batch model that notes how many simulations it was asked for."""
    asked = []

    def count(theta, seeds):
        asked.append(len(theta))
        return specimens.batch(theta, seeds)

    model = lf.Model(prior, lf.BatchSimulator(count, ("rate", "cv")))
    return model, asked


@pytest.fixture(params=["path", "file", "memory"])
def place(request, tmp_path):
    if request.param == "memory":
        yield "memory://campaign/one"
        fsspec.filesystem("memory").store.clear()
    else:
        yield str(tmp_path / "c") if request.param == "path" else f"file://{tmp_path}/c"


def test_a_store_holds_what_memory_would(model, seed, place):
    expected = lf.simulate(model, N, seed=seed)
    store = campaign(model, N, seed=seed, store=place, shard_size=SIZE)
    assert len(store) == store.planned == N
    assert same(store.load(), expected)
    assert [len(s) for s in store.shards()] == [16] * 6 + [4]
    assert store.counts() == expected.counts()
    again = open_store(place)
    assert again.parameters == model.parameters
    assert again.statistics == model.statistics
    assert same(again.load(30, 50), expected[30:50])
    assert "100 of 100 simulations" in repr(again)
    assert same(lf.simulate(model, N, seed=seed, store=store), expected)


def test_nothing_is_computed_twice(counted, seed, place):
    model, asked = counted
    campaign(model, N, seed=seed, store=place, shard_size=SIZE)
    folder = Folder(place)
    for name in ("shard-000000032.npz", "shard-000000096.npz"):
        folder.remove(name)
    assert len(open_store(place)) == N - 20
    asked.clear()
    events = []
    got = lf.simulate(model, N, seed=seed, store=place, progress=events.append)
    assert sum(asked) == 20
    assert same(got, lf.simulate(model, N, seed=seed))
    assert events[-1].done == N


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "flipped": lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:],
    "other": lambda data: b"not an archive at all",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_computed_anew(counted, seed, tmp_path, damage):
    model, asked = counted
    store = campaign(model, N, seed=seed, store=tmp_path, shard_size=SIZE)
    expected = store.load()
    path = tmp_path / "shard-000000016.npz"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(DamagedFile, match=r"Expected a whole file shard-000000016.npz in"):
        store.load()
    asked.clear()
    got = lf.simulate(model, N, seed=seed, store=tmp_path)
    assert sum(asked) == SIZE
    assert same(got, expected)
    assert "damaged" in got.messages[0]


def test_a_store_grows(counted, seed, tmp_path):
    model, asked = counted
    campaign(model, 40, seed=seed, store=tmp_path, shard_size=SIZE)
    asked.clear()
    got = lf.simulate(model, N, seed=seed, store=tmp_path)
    assert sum(asked) == N - 32  # two whole shards are kept, the part of a third is not
    assert same(got, lf.simulate(model, N, seed=seed))


def test_rounds_continue_the_numbering(counted, seed, tmp_path):
    model, _ = counted

    def proposal(seeds):
        return np.stack([(seeds % 2) / 2, np.ones(len(seeds))], axis=1)

    one = lf.simulate(model, 40, seed=seed, store=tmp_path, shard_size=SIZE)
    two = lf.simulate(model, 30, seed=seed, first=40, proposal=proposal, store=tmp_path)
    assert same(two, lf.simulate(model, 30, seed=seed, first=40, proposal=proposal))
    both = open_store(tmp_path)
    assert len(both) == both.planned == 70
    assert same(both.load(), one + two)
    assert same(lf.simulate(model, 40, seed=seed, store=tmp_path), one)
    with pytest.raises(ValueError, match="which has numbers 40 to 69; got 50 on: set first=70"):
        lf.simulate(model, 30, seed=seed, first=50, store=tmp_path)
    with pytest.raises(ValueError, match="numbers 40 to 69"):
        lf.simulate(model, 41, seed=seed, store=tmp_path)

    def other(seeds):
        return np.stack([(seeds % 2) / 3, np.ones(len(seeds)) + 1], axis=1)

    with pytest.raises(ValueError, match="got others from the proposal"):
        lf.simulate(model, 30, seed=seed, first=40, proposal=other, store=tmp_path)


def others(model):
    prior = lf.Prior(a=lf.Uniform(-1, 1, unit="mS/cm2"), b=lf.LogUniform(0.1, 11))
    changed = lf.BatchSimulator(lambda theta, seeds: theta + 1, ("rate", "cv"))
    renamed = lf.BatchSimulator(model.simulator.function, ("rate", "fano"))
    theta = model.prior.sample(N, seed=9)
    return {
        "prior": ({"model": lf.Model(prior, model.simulator)}, "differs in its prior"),
        "simulator": ({"model": lf.Model(model.prior, changed)}, "differs in its simulator"),
        "outputs": ({"model": lf.Model(model.prior, renamed)}, "differs in its statistics"),
        "seed": ({"seed": 5}, "Expected the seed that .* was begun with, 1; got 5"),
        "shard size": ({"shard_size": 17}, "Expected the shard size that .*, 16; got 17"),
        "theta": ({"theta": theta, "n": None}, r"begun with \(prior\); got others \(given\)"),
        "fewer": ({"n": N - 1}, "Expected n of at least 100.*got 99"),
    }


@pytest.mark.parametrize(
    "part", ["prior", "simulator", "outputs", "seed", "shard size", "theta", "fewer"]
)
def test_a_store_of_something_else_is_refused(counted, tmp_path, part):
    model, asked = counted
    store = campaign(model, N, seed=1, store=tmp_path, shard_size=SIZE)
    expected = store.load()
    asked.clear()
    change, sentence = others(model)[part]
    with pytest.raises(ValueError, match=sentence):
        lf.simulate(**{"model": model, "n": N, "seed": 1, "store": tmp_path, **change})
    assert asked == []
    assert same(open_store(tmp_path).load(), expected)


def test_a_store_without_a_shard_is_nobodys(python_model, counted, tmp_path):
    with pytest.raises(SimulationError, match="the same failure from each"):
        campaign(python_model(specimens.always_raises), 200, store=tmp_path)
    assert len(open_store(tmp_path)) == 0
    assert len(campaign(counted[0], N, store=tmp_path)) == N


def test_shards_know_where_they_belong(counted, tmp_path):
    model, asked = counted
    campaign(model, N, seed=1, store=tmp_path, shard_size=SIZE)
    (tmp_path / "simulations.json").unlink()
    asked.clear()
    campaign(model, N, seed=1, store=tmp_path, shard_size=SIZE)  # the list is written anew
    assert asked == []
    (tmp_path / "simulations.json").unlink()
    with pytest.raises(ValueError, match="Expected simulations of this model and seed"):
        campaign(model, N, seed=2, store=tmp_path, shard_size=SIZE)


def test_lists_that_cannot_be_read(counted, tmp_path):
    model, _ = counted
    with pytest.raises(FileNotFoundError, match=r"Expected the file simulations.json"):
        open_store(tmp_path / "nowhere")
    campaign(model, N, seed=1, store=tmp_path, shard_size=SIZE)
    path = tmp_path / "simulations.json"
    good = json.loads(path.read_text())
    path.write_text(json.dumps({**good, "format": 99}))
    with pytest.raises(ValueError, match="Expected simulations of format 1 or older"):
        open_store(tmp_path)
    for bad in ("{", '{"format": 1}', "[]"):
        path.write_text(bad)
        with pytest.raises(DamagedFile, match="delete that file and repeat"):
            open_store(tmp_path)
        with pytest.raises(DamagedFile, match="delete that file and repeat"):
            campaign(model, N, seed=1, store=tmp_path)
    with pytest.raises(TypeError, match="Expected a path, an fsspec URL or a Folder; got 5"):
        open_store(5)


def check_goes_on_after_a_full_disk(model, seed, folder, free):
    """Simulating until the disk is full keeps whole shards; with room, the same call ends well."""
    n, size = 20_000, 500
    with pytest.raises(OSError, match=r"Expected to write .* bytes to .*What was written before"):
        campaign(model, n, seed=seed, store=folder, shard_size=size)
    held = open_store(folder)
    kept = held.load()
    assert 0 < len(kept) < n
    assert not [f for f in os.listdir(folder) if f.endswith(".part")]
    free()
    assert same(lf.simulate(model, n, seed=seed, store=folder), lf.simulate(model, n, seed=seed))


def test_a_full_disk_loses_nothing(prior, seed, tmp_path):
    model = lf.Model(prior, lf.BatchSimulator(lambda theta, seeds: theta, ("rate", "cv")))
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    larger = ["mount", "-o", "remount,size=30m", str(disk)]
    try:
        free = lambda: subprocess.run(larger, check=True)  # noqa: E731
        check_goes_on_after_a_full_disk(model, seed, disk / "c", free)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_limit_on_file_sizes_is_told(prior, seed, tmp_path):
    """The same refusal without a disk: the kernel lets no file grow beyond a limit (EFBIG)."""
    import signal

    model = lf.Model(prior, lf.BatchSimulator(lambda theta, seeds: theta, ("rate", "cv")))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(OSError, match=r"Expected to write .* bytes to .*File too large"):
            campaign(model, 1000, seed=seed, store=tmp_path, shard_size=500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert len(open_store(tmp_path)) == 0
