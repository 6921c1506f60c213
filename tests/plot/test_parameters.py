"""Pair plots and marginals of 1 to 31 parameters."""

import threading

import numpy as np
import pytest
from overlaps import problems, texts_of

from lanternfish import plot
from lanternfish.core import CorrelatedNormal, LogUniform, Prior, Table, Uniform


def words(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in texts_of(figure)]


def test_pair(posterior):
    samples = posterior.sample(400, seed=1)
    figure = plot.pair(
        posterior,
        truth=samples[0],
        map=dict(zip(samples.names, samples.array[1], strict=True)),
        reference=samples,
    )
    assert problems(figure) == []
    found = words(figure)
    for column in posterior.parameters:
        assert any(column.unit.replace("cm2", "cm²").replace("uA", "µA") in t for t in found)
    for name in ("samples", "reference", "prior", "truth", "MAP"):
        assert name in found


def test_pair_with_correlations_and_the_samples_limits(posterior):
    samples = posterior.sample(300)
    figure = plot.pair(samples, limits="samples", correlations=True)
    assert problems(figure) == []
    d = len(posterior.prior)
    numbers = [t for t in words(figure) if t.startswith(("0.", "−0.")) and len(t.strip("−")) == 4]
    assert len(numbers) >= d * (d - 1) / 2


def test_marginals(posterior):
    figure = plot.marginals(posterior, truth=posterior.sample(1))
    assert problems(figure) == []
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert len(labels) == len(posterior.prior)
    for label, column in zip(labels, posterior.parameters, strict=True):
        assert label.startswith(column.label or column.name.replace("_", " "))
        assert label.endswith(")")


def test_names_choose_and_order():
    prior = Prior(a=Uniform(0, 1), b=Uniform(0, 1), c=Uniform(0, 1))
    figure = plot.marginals(prior.sample(50), names=["c", "a"], truth={"a": 0.5, "b": 1, "c": 0})
    assert [axes.get_xlabel() for axes in figure.axes] == ["c", "a"]
    found = words(plot.pair(prior.sample(50), names=["c", "a"], reference=prior.sample(9)))
    assert "b" not in found
    assert found.count("c") == 1


def test_logarithmic_axis_of_a_log_uniform_parameter():
    prior = Prior(g=LogUniform(1e-3, 1e3, unit="nS"), a=Uniform(0, 1))
    found = words(plot.pair(prior.sample(100), prior=prior))
    assert "$10^{-3}$" not in found  # at the very end of the axis
    assert {"0.01", "1", "100"} <= set(found) or {"0.1", "10"} <= set(found)
    assert problems(plot.marginals(prior.sample(100), prior=prior)) == []


def test_joint_laws_have_a_prior_too():
    prior = Prior(CorrelatedNormal(("a", "b"), [0, 0], [[1, 0.5], [0.5, 1]]))
    assert problems(plot.pair(prior.sample(100), prior=prior)) == []


ODD = {
    "one sample": np.array([[1.0, 2.0]]),
    "two samples": np.array([[1.0, 2.0], [3.0, 4.0]]),
    "constant column": np.column_stack([np.linspace(0, 1, 50), np.full(50, 3.0)]),
    "all zero": np.zeros((20, 2)),
    "tiny": 1e-12 * np.random.default_rng(0).random((50, 2)),
    "huge": 1e12 * np.random.default_rng(0).normal(size=(50, 2)),
    "far from zero": 1e6 + np.random.default_rng(0).random((50, 2)),
    "whole numbers": np.random.default_rng(0).integers(0, 3, (50, 2)),
    "one far out": np.vstack([np.random.default_rng(0).random((50, 2)), [1e6, 1e6]]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_samples_are_drawn(name):
    table = Table(ODD[name], ("a", "b"))
    for figure in (plot.pair(table, correlations=True), plot.marginals(table)):
        assert problems(figure) == []


def test_truth_outside_the_bounds_widens_the_axis(two):
    far = plot.pair(two, truth=[1000.0, 5.0])
    assert problems(far) == []
    assert "600" in words(far)


def test_figures_can_be_drawn_in_threads(two):
    found = []

    def draw():
        found.append(plot.save(plot.pair(two), f"memory://{threading.get_ident()}.png"))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4


def test_pyplot_is_left_alone(two):
    import sys

    plot.pair(two)
    assert "matplotlib.pyplot" not in sys.modules


def _with_nan():
    return Table([[1.0, np.nan], [1.0, 2.0]], ("a", "b"))


AB = Table(np.ones((3, 2)), ("a", "b"))
WRONG = {
    "array for samples": lambda p: plot.pair(np.ones((3, 2))),
    "no rows": lambda p: plot.pair(AB[:0]),
    "NaN": lambda p: plot.pair(_with_nan()),
    "unknown name": lambda p: plot.pair(AB, names=["a", "z"]),
    "text for names": lambda p: plot.pair(AB, names="a"),
    "no names": lambda p: plot.marginals(AB, names=[]),
    "limits": lambda p: plot.pair(AB, limits="data"),
    "prior of others": lambda p: plot.pair(AB, prior=Prior(a=Uniform(0, 1))),
    "samples for prior": lambda p: plot.pair(AB, prior=AB),
    "truth of wrong shape": lambda p: plot.pair(AB, truth=[1.0]),
    "several truths": lambda p: plot.marginals(AB, truth=AB),
    "several MAPs": lambda p: plot.pair(AB, map=np.ones((2, 2))),
    "truth without a name": lambda p: plot.pair(AB, truth={"a": 1.0}),
    "reference of others": lambda p: plot.pair(AB, reference=Table(np.ones((3, 1)), ("a",))),
    "reference is none": lambda p: plot.pair(AB, reference=AB[:0]),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name, two):
    with pytest.raises((ValueError, TypeError), match=r"^Expected [^\n]+; got [^\n]+\.$"):
        WRONG[name](two)
