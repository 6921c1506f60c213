"""Pictures of classes: texts apart, every point of a grid in its place."""

import numpy as np
import pytest
from overlaps import problems, texts_of

from lanternfish import plot
from lanternfish.core import Column, LogUniform, Prior, Table, Uniform

CLASSES = ("silent", "tonic", "bursting", "irregular")


def words(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in texts_of(figure)]


def labelled(d, n, seed):
    rng = np.random.default_rng(seed)
    columns = [Column(f"g_{i}", "mS/cm2") for i in range(d)]
    theta = Table(rng.random((n, d)), columns)
    return theta, np.array(CLASSES)[np.minimum((4 * theta.array[:, 0]).astype(int), 3)]


@pytest.mark.parametrize("d", [1, 3, 8, 31])
def test_classes(d, seed):
    theta, labels = labelled(d, 400, seed)
    figure = plot.classes(theta, labels, order=CLASSES)
    assert problems(figure) == []
    assert {*CLASSES, "100 %"} <= set(words(figure))


def test_classes_on_a_logarithmic_axis():
    prior = Prior(tau=LogUniform(1, 100), g=Uniform(0, 1))
    theta = prior.sample(300)
    figure = plot.classes(theta, theta["g"] > 0.5, prior=prior, names=["tau"])
    assert problems(figure) == []


@pytest.mark.parametrize("d", [1, 5, 31])
def test_importance(d, seed):
    columns = [Column(f"g_{i}", "mS/cm2") for i in range(d)]
    bits = np.random.default_rng(seed).random(d)
    figure = plot.importance(columns, bits, 0.1 * bits, 0.4)
    assert problems(figure) == []
    texts = [text for text in words(figure) if text.startswith("g ")]
    assert len(texts) == d
    assert texts[-1] == f"g {np.argmax(bits)}"  # the most telling on top


def grid(shape, names):
    digits = np.indices(shape).reshape(len(shape), -1).T.astype(float)
    return Table(digits, [Column(name, "nS") for name in names])


@pytest.mark.parametrize("shape", [(3,), (4, 3), (3, 2, 4), (3, 3, 2, 2, 4)])
def test_stacking(shape):
    theta = grid(shape, "abcdefgh"[: len(shape)])
    labels = np.where(theta.array.sum(axis=1) > 3, "tonic", "silent")
    figure = plot.stacking(theta, labels)
    assert problems(figure) == []
    assert any(text.startswith("a: 0 to") for whole in words(figure) for text in whole.split("\n"))


def test_every_point_of_a_grid_has_its_pixel():
    """Rows a (outer) and b, columns c (outer) and d, in any order of the rows of the table."""
    theta = grid((2, 3, 2, 4), "abcd")
    labels = np.random.default_rng(0).integers(0, 3, len(theta)).astype(str)
    shuffled = np.random.default_rng(1).permutation(len(theta))
    figure = plot.stacking(
        theta[shuffled], labels[shuffled], order="012", rows=["a", "b"], columns=["c", "d"]
    )
    image = figure.axes[1].images[0].get_array()
    for (a, b, c, d), label in zip(theta.array.astype(int), labels, strict=True):
        assert image[a * 3 + b, c * 4 + d] == int(label)


def test_the_deciding_parameters_stand_outside():
    theta = grid((3, 4, 3, 4), "abcd")
    labels = np.where(theta["d"] > 1, "x", "y")
    image = plot.stacking(theta, labels).axes[1].images[0].get_array()
    changes = np.sum(np.diff(image, axis=0) != 0) + np.sum(np.diff(image, axis=1) != 0)
    assert changes in (image.shape[0], image.shape[1])  # one border, from side to side


def test_points_that_are_missing_are_white():
    theta = grid((3, 4), "ab")
    image = plot.stacking(theta[:10], ["x"] * 10).axes[1].images[0].get_array()
    assert np.sum(image == -1) == 2


def test_what_cannot_be_drawn_is_said(seed):
    theta, labels = labelled(3, 400, seed)
    with pytest.raises(ValueError, match=r"Expected points of a grid; got 400 points"):
        plot.stacking(theta, labels)
    with pytest.raises(ValueError, match=r"label for each of 400 rows; got shape \(3,\)"):
        plot.classes(theta, labels[:3])
    with pytest.raises(ValueError, match=r"at most 8 classes, .*; got 10"):
        plot.classes(theta, np.arange(400) % 10)
    with pytest.raises(ValueError, match=r"rows and columns out of a, b, each once; got c"):
        plot.stacking(grid((3, 4), "ab"), ["x"] * 12, rows=["c"])
    with pytest.raises(ValueError, match=r"each point of the grid once"):
        plot.stacking(grid((3, 4), "ab")[[0, 0, 1, 2, 3, 4, 5]], ["x"] * 7)


@pytest.mark.parametrize("d", [1, 4, 31])
def test_comparison(d):
    finding = {
        "distances": [
            {"name": name, "nothing": nothing, "value": nothing + 0.04, "error": 0.01,
             "chance": nothing + 0.02, "passed": name == "means"}
            for name, nothing in (("C2ST", 0.5), ("Wasserstein", 0.0), ("means", 0.0))
        ],
        "parameters": [
            {"name": f"g_{i}", "difference": 0.1 * i, "difference_error": 0.05, "ratio": 1.1,
             "ratio_error": 0.04}
            for i in range(d)
        ],
    }  # fmt: skip
    figure = plot.comparison(finding)
    assert problems(figure) == []
    assert {"C2ST", "Wasserstein", "means", "g 0"} <= set(words(figure))
    with pytest.raises(ValueError, match=r"finding of diagnostics.compare"):
        plot.comparison({})
