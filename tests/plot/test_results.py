"""Traces, predictive checks, training curves, files, and an environment without Matplotlib."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from overlaps import problems, texts_of

from lanternfish import plot
from lanternfish.core import Column, Folder, Observation, Table, Trace, Traces

CELLS = ("AB/PD", "LP", "PY")
CYCLE = ("d_ABPD", "d_LP", "d_PY", "gap_ABPD_LP", "gap_LP_PY", "delay_ABPD_LP", "delay_LP_PY")
PHASES = ("duty_ABPD", "duty_LP", "duty_PY", "phase_gap_1", "phase_gap_2", "phase_LP", "phase_PY")
PLATEAUS = ("plateau_ABPD", "plateau_LP", "plateau_PY")
STATISTICS = (
    Column("period", "ms", "$T$"),
    *(Column(name, "ms") for name in CYCLE),
    *(Column(name) for name in PHASES),
    *(Column(name, "ms") for name in PLATEAUS),
)


def words(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in texts_of(figure)]


def circuits(n=3, channels=CELLS, points=2_000):
    time = np.linspace(0, 6_000, points)
    phase = time / 1_500 + np.arange(len(channels))[:, None] / 3
    values = -50 + 40 * np.sin(2 * np.pi * phase) + np.arange(n)[:, None, None]
    return Traces(time, values, channels)


@pytest.fixture
def predictions(seed):
    scale = np.r_[np.full(8, 500.0), np.full(7, 0.4), np.full(3, 1e-4)]
    return Table(scale * (1 + 0.2 * np.random.default_rng(seed).normal(size=(300, 18))), STATISTICS)


@pytest.fixture
def observation(predictions):
    return Observation.from_array(1.1 * predictions.array.mean(axis=0), STATISTICS)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_traces(n):
    figure = plot.traces(circuits(n), observation_text="measured: T = 1,500 ms\nphases 0.4, 0.7")
    assert problems(figure) == []
    found = words(figure)
    assert found.count("LP") == n
    assert {"50 mV", "500 ms", f"circuit {n}"} <= set(found)


def test_traces_beside_measured_ones():
    recorded = circuits(1, ("soma",))
    figure = plot.traces(
        circuits(2), titles=["MAP", "sample"], measured=recorded, window=(0, 3_000)
    )
    assert problems(figure) == []
    assert {"measured", "MAP", "sample", "soma", "200 ms"} <= set(words(figure))


def test_no_spike_is_lost_in_a_long_trace():
    values = np.full((1, 1, 440_001), -60.0)
    values[0, 0, 123_457] = 40.0
    values[0, 0, 300_000:] = np.nan
    long = Traces(np.arange(440_001) * 0.025, values, ("V",))
    line = plot.traces(long).axes[0].lines[0].get_ydata()
    assert len(line) < 10_000
    assert np.nanmax(line) - np.nanmin(line) == 100


def test_traces_without_a_value_or_movement():
    values = np.stack([np.full((2, 50), np.nan), np.full((2, 50), -60.0)])
    figure = plot.traces(Traces(np.arange(50), values, ("a", "b")))
    assert problems(figure) == []
    assert words(figure).count("no finite value") == 2
    nothing = Traces(np.arange(50), values[:1], ("a", "b"))
    assert problems(plot.traces(nothing)) == []


def test_predictive(predictions, observation):
    figure = plot.predictive(predictions, observation)
    assert problems(figure) == []
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert len(titles) == 18
    assert all("(ms): " in t for t, c in zip(titles, STATISTICS, strict=True) if c.unit)
    assert all("measured" in t for t in titles)
    assert "predicted (300 of 300 complete)" in words(figure)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_predictive_of_some(predictions, observation, k):
    names = [c.name for c in STATISTICS[:k]]
    assert problems(plot.predictive(predictions, observation, columns=names)) == []


def test_predictive_of_odd_predictions(observation):
    array = np.tile(observation.array_for(STATISTICS), (40, 1))
    array[:, 1] = np.nan
    array[:39, 2] = np.nan
    array[0, 3] = np.inf
    array[:, 4] = 0.0
    array[5, 5] = 1e9
    figure = plot.predictive(Table(array, STATISTICS), observation)
    assert problems(figure) == []
    found = words(figure)
    assert "no prediction has a value" in found
    assert "predicted (0 of 40 complete)" in found


def test_predictive_of_a_trace():
    """Its mean and standard deviation, beside those of what was measured."""
    voltage = Trace("voltage", 50, unit="mV")
    x = Table(np.random.default_rng(0).normal(size=(40, 50)), [voltage])
    told = " ".join(words(plot.predictive(x, Observation(voltage=np.arange(50.0)))))
    assert "voltage mean (mV): 24.5 measured" in told
    assert "voltage sd (mV): 14.43 measured" in told


def test_predictive_of_one_row_and_without_measurement(predictions):
    figure = plot.predictive(predictions[:1], Observation(d_LP=500.0))
    assert problems(figure) == []
    assert sum("measured" in axes.get_title(loc="left") for axes in figure.axes) == 1


def curve(rounds, epochs=40):
    losses = (20 * np.exp(-np.arange(epochs) / 5) - 3).tolist()
    one = {"train": losses, "validation": [v + 0.5 for v in losses], "best_epoch": epochs - 3}
    return {"rounds": [one | {"simulations": 10_000, "valid_fraction": 0.011}] * rounds}


def band(n=300, k=19):
    """Levels and a band of four standard errors."""
    levels = np.arange(1, k + 1) / (k + 1)
    width = 4 * np.sqrt(levels * (1 - levels) / n)
    return {"levels": levels, "low": levels - width, "high": levels + width}


@pytest.mark.parametrize("d", [1, 4, 31])
def test_calibration(d, seed):
    """Parameters outside the band are named, at most five; those inside are counted."""
    rng = np.random.default_rng(seed)
    uniform = rng.random((300, d))
    columns = [Column(f"p{i}") for i in range(d)]
    figure = plot.calibration(Table(uniform, columns), rng.random(300), **band())
    assert problems(figure) == []
    assert ("p0" if d == 1 else f"{d} parameters") in words(figure)
    narrow = np.where(np.arange(d) < 7, 0.5 + 0.5 * np.sin(np.pi * (uniform - 0.5)), uniform)
    figure = plot.calibration(Table(narrow, columns), rng.beta(3, 1, 300), **band())
    assert problems(figure) == []
    found = words(figure)
    assert sum(f"p{i}" in found for i in range(7)) == min(d, 5)
    if d > 5:
        assert f"{d - 5} more" in found


@pytest.mark.parametrize("rounds", [1, 2, 5, 12])
def test_training(rounds):
    figure = plot.training(curve(rounds))
    assert problems(figure) == []
    found = words(figure)
    assert sum(t.startswith("Round") for t in found) == rounds
    assert "Round 1\n10,000 simulations, 1.1 % valid" in found
    assert found.count("epoch") == rounds
    assert "loss (nats)" in found
    kept = figure.axes[0].lines[-1]
    assert (kept.get_xdata()[0], kept.get_ydata()[0]) == (
        37,
        curve(1)["rounds"][0]["validation"][37],
    )


ODD = {
    "no epoch": {"train": [], "validation": [], "best_epoch": None},
    "one epoch": {"train": [1.0], "validation": [2.0], "best_epoch": 0},
    "constant": {"train": [1.0] * 5, "validation": [1.0] * 5, "best_epoch": 0},
    "not finite": {"train": [np.nan, np.inf, 1.0], "validation": [np.nan] * 3, "best_epoch": 1},
    "all NaN": {"train": [np.nan] * 3, "validation": [np.nan] * 3, "best_epoch": 1},
    "explodes first": {"train": [1e8, 5, 4, 3], "validation": [1e9, 5, 4, 3], "best_epoch": 3},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_training_is_drawn(name):
    assert problems(plot.training({"rounds": [ODD[name]]})) == []


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_files(kind, two, tmp_path):
    path = tmp_path / "new folder" / f"pair.{kind}"
    assert plot.save(plot.pair(two), path) == str(path)
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind]
    assert path.read_bytes().startswith(start)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_files_have_the_resolution_asked_for(tmp_path):
    figure = plot.training(curve(1))
    sizes = [plot.save(figure, tmp_path / f"{dpi}.png", dpi=dpi) for dpi in (50, 100)]
    widths = [int.from_bytes(pathlib.Path(p).read_bytes()[16:20], "big") for p in sizes]
    assert widths == [round(50 * figure.get_figwidth()), round(100 * figure.get_figwidth())]


def test_files_in_memory_and_here(two, tmp_path, monkeypatch):
    figure = plot.training(curve(1))
    monkeypatch.chdir(tmp_path)
    for folder, path in (
        ("memory://figures", "memory://figures/a.png"),
        ("memory://", "memory://b.png"),
    ):
        assert plot.save(figure, path) == path
        assert Folder(folder).read(path[-5:]).startswith(b"\x89PNG")
    assert not list(tmp_path.iterdir())
    plot.save(figure, "a.png")
    assert (tmp_path / "a.png").exists()


WITHOUT = """
import sys
sys.modules["matplotlib"] = None
import lanternfish.plot
try:
    lanternfish.plot.pair
except ImportError as error:
    print(error)
"""


def test_without_matplotlib_one_sentence_says_what_to_install():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.stdout == (
        "Expected Matplotlib, which draws the figures; got an environment without it: "
        "pip install 'lanternfish[plot]'.\n"
    )


X = Table(np.ones((3, 1)), ("rate",))
NOT_ONE = {"rounds": [{"train": [1.0]}]}
WRONG = {
    "array for predictions": lambda: plot.predictive(np.ones((3, 1)), Observation(rate=1)),
    "no prediction": lambda: plot.predictive(X[:0], Observation(rate=1)),
    "observation of others": lambda: plot.predictive(X, Observation(cv=1)),
    "unknown statistic": lambda: plot.predictive(X, Observation(rate=1), columns=["cv"]),
    "no history": lambda: plot.training({}),
    "no round": lambda: plot.training({"rounds": []}),
    "no curve": lambda: plot.training(NOT_ONE),
    "no folder of rounds": lambda: plot.training([1, 2]),
    "titles": lambda: plot.traces(circuits(2), titles=["MAP"]),
    "window": lambda: plot.traces(circuits(2), window=(7_000, 9_000)),
    "shape": lambda: plot.traces(Traces(np.arange(5), np.ones((2, 3, 4)), CELLS)),
    "no circuit": lambda: plot.traces(Traces(np.arange(5), np.ones((0, 3, 5)), CELLS)),
    "several measured": lambda: plot.traces(circuits(1), measured=circuits(2)),
    "coverage of others": lambda: plot.calibration(X, np.ones(2), **band()),
    "half a band": lambda: plot.calibration(X, np.ones(3), **band() | {"low": np.ones(2)}),
    "ending": lambda: plot.save(plot.training(curve(1)), "figure.docx"),
    "no ending": lambda: plot.save(plot.training(curve(1)), "figure"),
    "dpi": lambda: plot.save(plot.training(curve(1)), "figure.png", dpi=0),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    with pytest.raises((ValueError, TypeError), match=r"^Expected [^\n]+; got [^\n]+\.$"):
        WRONG[name]()
