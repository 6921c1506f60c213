"""Pictures of paths, compensation, conditionals, active subspaces and modes: drawn, no overlaps."""

from types import SimpleNamespace

import numpy as np
import pytest
from overlaps import problems
from PIL import Image

from conftest import posterior_of
from lanternfish import plot
from lanternfish.core import Column, Table, Traces
from lanternfish.core.weighted import share

M = 7


@pytest.fixture(scope="module", params=[2, 8, 31])
def parts(request):
    """A path, a walk along it with traces, and their prior."""
    prior = posterior_of(request.param).prior
    s = np.linspace(0.2, 0.8, M)[:, None]
    theta = Table(prior.low + (prior.high - prior.low) * s, prior.columns)
    curve = SimpleNamespace(
        theta=theta, log_density=-(np.linspace(-1, 1, M) ** 2), position=np.linspace(0, 3, M)
    )
    valid = tuple(share(np.arange(20) < 20 - k, np.ones(20)) for k in range(M))
    time = np.linspace(0, 100, 400)
    values = np.sin(time / 5 + np.arange(M)[:, None, None]) * np.ones((M, 2, 1))
    walk = SimpleNamespace(
        distances=curve.position, theta=theta, valid=valid, traces=Traces(time, values, ("A", "B"))
    )
    return prior, curve, walk


def test_path(parts):
    prior, curve, walk = parts
    figure = plot.path(curve, {"path": walk, "across": walk}, prior=prior)
    assert len(figure.axes[1].lines) == 2
    assert plot.path(curve).axes[0].lines[0].get_ydata().shape == (M,)
    if len(prior) < 31:
        assert problems(figure) == []
    with pytest.raises(ValueError, match="at most"):
        plot.path(curve, {str(i): walk for i in range(9)})


def test_film_of_a_path(parts, tmp_path):
    prior, _, walk = parts
    file = plot.animate_path(walk, tmp_path / "path.gif", prior=prior, dpi=40)
    with Image.open(file) as film:
        assert film.n_frames == M
    with pytest.raises(ValueError, match=r"\.gif or \.mp4"):
        plot.animate_path(walk, tmp_path / "path.png", prior=prior)
    silent = SimpleNamespace(**{**vars(walk), "traces": None})
    with pytest.raises(ValueError, match="Expected a walk with traces"):
        plot.animate_path(silent, tmp_path / "path.gif", prior=prior)


def test_compensation(parts, seed):
    prior = parts[0]
    d = len(prior)
    x = np.corrcoef(np.random.default_rng(seed).normal(size=(d, 40)))
    found = SimpleNamespace(
        columns=prior.columns, correlation=x, error=np.full((d, d), 0.1), marginal=x / 2,
        widening=np.linspace(1, 3, d), widening_error=np.full(d, 0.1),
    )  # fmt: skip
    figure = plot.compensation(found)
    shown = figure.axes[0].images[0].get_array()
    assert shown[1, 0] == x[1, 0]
    assert shown[0, 1] == x[0, 1] / 2


def test_conditionals_and_modes(seed):
    prior = posterior_of(2).prior
    ends = [np.linspace(a, b, 20) for a, b in zip(prior.low, prior.high, strict=True)]
    found = SimpleNamespace(
        columns=prior.columns,
        at=(prior.low + prior.high) / 2,
        lines=tuple((e, np.exp(-(np.linspace(-2, 2, 20) ** 2))) for e in ends),
        planes={(0, 1): ((ends[0], ends[1]), np.ones((20, 20)))},
    )
    samples = posterior_of(2).sample(200, seed=seed)
    assert len(plot.conditionals(found, prior=prior, samples=samples).axes) == 4
    table = samples[np.arange(2)]
    modes = SimpleNamespace(
        theta=table, share=np.array([0.7, 0.3]), error=np.array([0.03, 0.03]), samples=samples
    )
    modes = type("Two", (), {**vars(modes), "__len__": lambda self: 2})()
    assert plot.modes(modes, prior=prior).axes[0].patches[0].get_width() == 0.7


def test_active_subspace(seed):
    prior = posterior_of(8).prior
    rng = np.random.default_rng(seed)
    found = SimpleNamespace(
        column=Column("energy", "uJ/cm2"), columns=prior.columns,
        eigenvalues=np.geomspace(1, 1e-6, 8), error=np.geomspace(0.1, 1e-7, 8),
        vectors=np.linalg.qr(rng.normal(size=(8, 8)))[0], values=rng.normal(size=50),
        project=lambda: np.linspace(0, 1, 50),
    )  # fmt: skip
    assert len(plot.active_subspace(found).axes) == 3
