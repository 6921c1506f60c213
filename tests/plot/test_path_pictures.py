"""Pictures of paths, compensation, conditionals, active subspaces and modes: drawn, no overlaps."""

import sys
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from overlaps import problems
from PIL import Image, ImageSequence

from conftest import posterior_of
from lanternfish import landscape, plot
from lanternfish.core import BatchSimulator, Column, Model, Prior, Table, Traces, Uniform
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


def swinging(theta, seeds):
    """The period and, as traces, two channels of an oscillation that has it."""
    return np.where(theta[:, :1] > 0.9, np.nan, theta[:, :1])


def traces_of(theta, seeds):
    time = np.linspace(0, 5, 200)
    phase = 2 * np.pi * time / theta[:, :1]
    return Traces(time, np.stack([np.sin(phase), np.cos(phase)], axis=1), ("A", "B"))


@pytest.fixture(scope="module")
def walked():
    """A walk of a model with traces along a straight path, whose far end is never valid."""
    prior = Prior(period=Uniform(0.2, 1, unit="s"), size=Uniform(0, 1))
    model = Model(prior, BatchSimulator(swinging, ("period",)), traces=traces_of)
    theta = prior.low + np.linspace(0, 1, 20)[:, None] * (prior.high - prior.low)
    way = landscape.Path(Table(theta, prior.columns), np.zeros(20), np.linspace(0, 4, 20),
                         prior.high - prior.low)  # fmt: skip
    return prior, landscape.walk(model, way, points=6, trials=4, traces=True)


def frames_of_gif(file):
    with Image.open(file) as film:
        return [np.asarray(frame.convert("RGB"), float) for frame in ImageSequence.Iterator(film)]


def frames_of_mp4(file):
    film = cv2.VideoCapture(str(file))
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(4)
    found = []
    while (frame := film.read())[0]:
        found.append(np.asarray(frame[1], float))
    return found


@pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")  # to start ffmpeg
@pytest.mark.parametrize(("kind", "read"), [("gif", frames_of_gif), ("mp4", frames_of_mp4)])
def test_film_of_a_walk_as_another_program_reads_it(walked, tmp_path, kind, read):
    """A frame for each point; of MP4 the last for two seconds more. Each differs from the next."""
    prior, walk = walked
    file = plot.animate_path(walk, tmp_path / f"path.{kind}", prior=prior, dpi=50)
    frames = read(file)
    assert len(frames) == len(walk) + (8 if kind == "mp4" else 0)
    height, width = frames[0].shape[:2]
    assert (width, height) == (360, 154 if kind == "mp4" else 155)  # 7.2 by 3.1 inches; even
    moved = [np.mean(np.abs(a - b) > 60) for a, b in pairwise(frames)]
    assert min(moved[: len(walk) - 1]) > 0.002
    assert max(moved[len(walk) - 1 :], default=0) < 0.002  # the end is held
    assert [p.name for p in tmp_path.iterdir()] == [f"path.{kind}"]


def test_mp4_without_any_ffmpeg_is_one_sentence(walked, tmp_path, monkeypatch):
    prior, walk = walked
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(RuntimeError, match=r"^Expected ffmpeg.+pip install imageio-ffmpeg.+\.gif"):
        plot.animate_path(walk, tmp_path / "path.mp4", prior=prior)
    assert not list(tmp_path.iterdir())


def test_films_of_traces_that_cannot_be_shown(walked, tmp_path):
    prior, walk = walked
    values = np.full_like(walk.traces.values, np.nan)
    lost = replace(walk, traces=replace(walk.traces, values=values))
    with pytest.raises(ValueError, match=r"^Expected traces with finite values; got none"):
        plot.animate_path(lost, tmp_path / "a.gif", prior=prior)
    with pytest.raises(ValueError, match=r"^Expected fps above 0; got 0"):
        plot.animate_path(walk, tmp_path / "a.gif", prior=prior, fps=0)
    values[:] = -65.0
    values[2] = np.nan
    flat = replace(walk, traces=replace(walk.traces, values=values))
    file = plot.animate_path(flat, tmp_path / "flat.gif", prior=prior, dpi=30)
    assert len(frames_of_gif(file)) == len(walk)


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
