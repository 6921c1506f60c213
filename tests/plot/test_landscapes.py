"""Landscapes, contours, perturbations, optimisations and animations."""

from types import SimpleNamespace

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from overlaps import problems, texts_of
from PIL import Image

from conftest import Stand, posterior_of
from lanternfish import plot
from lanternfish.core import Column, Folder, LogUniform, Prior, Table, Uniform


def words(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in texts_of(figure)]


class Bowl(Stand):
    """Its density is highest in the middle of the prior."""

    def log_density(self, theta):
        unit = (theta - self.prior.low) / (self.prior.high - self.prior.low)
        return -8 * jnp.sum((unit - 0.5) ** 2)


@pytest.fixture(scope="module", params=[2, 3, 8, 31])
def bowl(request):
    return Bowl(posterior_of(request.param).prior)


def middle(prior):
    return Table(((prior.low + prior.high) / 2)[None], prior.columns)


def two_arrows(prior):
    width = prior.high - prior.low
    turn = np.array([[1.0, 1.0], [1.0, -1.0]]) * [[0.05], [0.2]]
    arrows = np.zeros((2, len(prior)))
    arrows[:, :2] = turn
    return Table(arrows * width, prior.columns)


def test_landscape(bowl):
    prior = bowl.prior
    figure = plot.landscape(bowl, modes=middle(prior), arrows=two_arrows(prior))
    assert problems(figure) == []
    found = words(figure)
    assert {"log density (nats)", "mode", "$v_{1}$", "$v_{2}$"} <= set(found)
    for column in prior.columns:
        assert any(t.startswith(column.label or column.name.replace("_", " ")) for t in found)


def test_landscape_draws_the_highest_on_top(seed):
    table = posterior_of(2).sample(300, seed=seed)
    heights = -np.arange(300.0)
    dots = plot.landscape(table, heights).axes[0].collections
    values = next(c.get_array() for c in dots if c.get_array() is not None)
    assert np.all(np.diff(values) >= 0)
    assert values[-1] == 0


def test_landscape_of_several_modes_on_logarithmic_axes(seed):
    prior = Prior(g=LogUniform(0.1, 10, unit="nS"), a=Uniform(0, 1), b=Uniform(-1, 1))
    table = prior.sample(300, seed=seed)
    arrows = Table(np.diag([2.0, 0.3, 1.5]), prior.columns)
    figure = plot.landscape(
        table, table["a"], prior=prior, modes=table[:3], arrows=arrows, limits="samples"
    )
    assert problems(figure) == []
    found = words(figure)
    assert {"first mode", "other modes", "$v_{1}$", "$v_{3}$", "0.3", "3"} <= set(found)
    assert "$v_{2}$" not in found
    chosen = plot.landscape(table, table["a"], prior=prior, names=["b", "g"], modes=table[:1])
    assert problems(chosen) == []
    assert "a" not in words(chosen)


def test_landscape_of_odd_heights():
    table = Table(np.random.default_rng(0).random((50, 2)), ("a", "b"))
    heights = np.where(np.arange(50) < 5, -np.inf, 3.0)
    assert problems(plot.landscape(table, heights)) == []


PLANE = (Column("g_el", "nS", r"$g_\mathrm{el}$"), Column("g_synA", "nS"))
X, Y = np.meshgrid(np.linspace(4, 8, 30), np.geomspace(0.1, 4, 20))
GRID = Table(np.stack([X.ravel(), Y.ravel()], axis=1), PLANE)
RATE = Table((0.3 + 0.06 * (X - 4) + 0.05 * np.sin(Y)).reshape(-1, 1), [Column("f_hub", "Hz")])


def test_contours(seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(GRID))
    values = np.array(RATE.array)
    values[:70] = np.nan
    samples = Table(rng.normal([6, 2], 0.3, (500, 2)), PLANE)
    figure = plot.contours(
        GRID[order],
        Table(values[order], RATE.columns),
        target=(0.45, 0.02),
        samples=samples,
        mode=[6, 2],
        arrows=Table([[0.2, 0.0], [0.0, 0.5]], PLANE),
    )
    assert problems(figure) == []
    found = set(words(figure))
    assert {"target", "± 1 sd", "± 2 sd", "samples", "mode", "$v_{1}$", "no value"} <= found
    assert {r"$g_\mathrm{el}$ (nS)", "g synA (nS)", "f hub (Hz)"} <= found


def test_contours_lie_where_the_statistic_is_the_target():
    """f = x alone: the target's contour is a vertical line."""
    figure = plot.contours(GRID, Table(GRID.array[:, :1], [Column("f")]), target=(5.0, 0.0))
    lines = figure.axes[0].collections[-1].get_paths()
    places = np.concatenate([p.vertices for p in lines if len(p.vertices)])
    np.testing.assert_allclose(places[:, 0], 0.25, atol=1e-6)


def test_contours_on_a_logarithmic_axis_and_of_a_constant():
    prior = Prior(g_el=Uniform(0, 10), g_synA=LogUniform(0.01, 10))
    figure = plot.contours(GRID, Table(np.ones((600, 1)), [Column("f")]), prior=prior)
    assert problems(figure) == []
    assert "1" in words(figure)


def walk(k=2, m=11, seed=0):
    rng = np.random.default_rng(seed)
    columns = [Column(f"rate_{i}", "Hz") for i in range(k)]
    mean = 10 + np.linspace(-1, 1, m)[:, None] + rng.normal(0, 0.1, (m, k))
    mean[0, 0] = np.nan
    return SimpleNamespace(
        distances=np.linspace(-0.25, 0.25, m),
        mean=Table(mean, columns),
        sd=Table(np.full((m, k), 0.3), columns),
        target={"rate_0": (10.0, 0.5)},
    )


@pytest.mark.parametrize("k", [1, 2, 5])
def test_perturbation(k):
    one = plot.perturbation(walk(k))
    both = plot.perturbation({"$v_1$": walk(k), "$v_2$": walk(k, 30, 1)}, unit="mS/cm2")
    for figure in (one, both):
        assert problems(figure) == []
        assert "target" in words(figure)
        assert "± 1 sd of trials" in words(figure)
    assert {"$v_1$", "$v_2$", "distance (mS/cm²)", "rate 0 (Hz)"} <= set(words(both))


def test_perturbation_of_chosen_statistics():
    figure = plot.perturbation(walk(3), names=["rate_2"], target={"rate_2": 9.0})
    assert [axes.get_ylabel() for axes in figure.axes] == ["rate 2 (Hz)"]
    assert problems(figure) == []


def run_of(epochs, m):
    at = np.arange(epochs)
    signs = np.where(np.arange(m) % 2, 1, -1)
    left = {f"mean of rate {j}": 500 * signs[j] * np.exp(-at / 3) + 0.1 * j for j in range(m)}
    return 7 - 5 * np.exp(-at / 4), left


@pytest.mark.parametrize(("epochs", "m"), [(1, 1), (25, 4), (60, 10), (3, 20)])
@pytest.mark.parametrize("largest", [None, 7.04, (7.0, 7.1)])
def test_optimisation(epochs, m, largest):
    entropy, residuals = run_of(epochs, m)
    figure = plot.optimisation(entropy, residuals, largest=largest)
    assert problems(figure) == []
    found = set(words(figure))
    assert {"entropy (nats)", "residual (tolerances)", "epoch", "met"} <= found
    assert ("largest: 7.04" in found) == (largest == 7.04)
    assert ("largest: 7.0 to 7.1" in found) == (largest == (7.0, 7.1))
    assert len([t for t in found if t.startswith("mean of")]) == min(m, 7)


def test_optimisation_from_a_table_with_gaps():
    table = Table([[np.nan, 3.0], [0.5, np.nan], [0.2, 1e7]], ("mean", "variance"))
    figure = plot.optimisation([1.0, np.nan, 2.0], table, epochs=[500, 1000, 1500])
    assert problems(figure) == []


def frames(d, n=4):
    prior = posterior_of(8).prior
    names = prior.names[:d]
    return [Stand(prior).sample(100, seed=i)[list(names)] for i in range(n)]


@pytest.mark.parametrize("d", [1, 3])
def test_animation(d, tmp_path):
    path = tmp_path / "new" / "film.gif"
    found = plot.animate(
        frames(d), path, epochs=[1, 5, 10, 200], entropy=[1, 2, 3, 3.5], fps=10, dpi=40
    )
    assert found == str(path)
    with Image.open(path) as film:
        assert film.n_frames == 4
        film.seek(3)
        assert film.info["duration"] == 2_000
    assert [p.name for p in path.parent.iterdir()] == ["film.gif"]


@pytest.mark.parametrize("d", [1, 2, 3, 8])
def test_frames_of_an_animation_have_no_overlaps(d):
    from lanternfish.plot.evolution import _Film

    prior = posterior_of(8).prior
    film = _Film(frames(d), None, [1, 2, 3, 3.5], prior, None, "prior")
    counts = set()
    for i in (0, 3, 1):
        film.show(i)
        assert f"epoch {i + 1}" in words(film.figure)
        assert problems(film.figure) == []
        counts.add(len(film.axes.get_children()))
    assert len(counts) == 1  # what was drawn before is gone


def test_animation_in_memory():
    plot.animate(frames(1, 2), "memory://films/a.gif", dpi=30)
    assert Folder("memory://films").read("a.gif").startswith(b"GIF8")


@pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")  # to start ffmpeg
def test_animation_as_a_video(tmp_path):
    plot.animate(frames(2), tmp_path / "film.mp4", dpi=41)
    assert b"ftyp" in (tmp_path / "film.mp4").read_bytes()[:16]
    film = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4 + 2 * 4  # the last stays for two seconds


AB = Table(np.random.default_rng(0).random((5, 2)), ("a", "b"))
ONE = Table(np.ones((600, 1)), ("f",))
WALK = walk()
WRONG = {
    "heights": lambda: plot.landscape(AB),
    "heights of others": lambda: plot.landscape(AB, np.ones(3)),
    "heights NaN": lambda: plot.landscape(AB, np.full(5, np.nan)),
    "one parameter": lambda: plot.landscape(AB, np.ones(5), names=["a"]),
    "arrows alone": lambda: plot.landscape(AB, np.ones(5), arrows=[[1, 2]]),
    "arrows of wrong shape": lambda: plot.landscape(AB, np.ones(5), modes=[1, 1], arrows=[[1]]),
    "arrows NaN": lambda: plot.landscape(AB, np.ones(5), modes=[1, 1], arrows=[[np.nan, 1]]),
    "modes unknown": lambda: plot.landscape(AB, np.ones(5), modes=ONE),
    "limits": lambda: plot.landscape(AB, np.ones(5), limits="data"),
    "grid of three": lambda: plot.contours(Table(np.ones((4, 3)), ("a", "b", "c")), ONE),
    "no full grid": lambda: plot.contours(AB, Table(np.ones((5, 1)), ("f",))),
    "no statistic": lambda: plot.contours(GRID, Table(np.full((600, 1), np.nan), ("f",))),
    "two statistics": lambda: plot.contours(GRID, GRID),
    "array for grid": lambda: plot.contours(np.ones((4, 2)), ONE),
    "target": lambda: plot.contours(GRID, ONE, target=0.5),
    "arrows without mode": lambda: plot.contours(GRID, ONE, arrows=[[1, 1]]),
    "samples of others": lambda: plot.contours(GRID, ONE, samples=AB),
    "no walk": lambda: plot.perturbation({}),
    "not a walk": lambda: plot.perturbation(AB),
    "other statistics": lambda: plot.perturbation({"a": walk(1), "b": walk(2)}),
    "unknown statistic": lambda: plot.perturbation(WALK, names=["z"]),
    "bad target": lambda: plot.perturbation(WALK, target={"rate_0": np.nan}),
    "no constraint": lambda: plot.optimisation([1.0], {}),
    "array of residuals": lambda: plot.optimisation([1.0], np.ones((1, 2))),
    "lengths": lambda: plot.optimisation([1.0, 2.0], {"a": [1.0]}),
    "lengths of residuals": lambda: plot.optimisation([1.0], {"a": [1.0], "b": [1.0, 2.0]}),
    "largest": lambda: plot.optimisation([1.0], {"a": [1.0]}, largest=np.nan),
    "ending": lambda: plot.animate([AB], "film.avi"),
    "no frame": lambda: plot.animate([], "film.gif"),
    "one table": lambda: plot.animate(AB, "film.gif"),
    "frames of others": lambda: plot.animate([AB, AB[["a"]]], "film.gif"),
    "epochs": lambda: plot.animate([AB], "film.gif", epochs=[1, 2]),
    "entropy": lambda: plot.animate([AB], "film.gif", entropy=[1, 2]),
    "fps": lambda: plot.animate([AB], "film.gif", fps=0),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    with pytest.raises((ValueError, TypeError), match=r"^Expected [^\n]+; got [^\n]+\.$"):
        WRONG[name]()
