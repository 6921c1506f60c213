"""The LN temporal filter: how far NPE's defaults are from the true posterior of ten parameters.

    python benchmarks/ln_filter.py [--simulations 10000] [--seeds 0 1 2] [--classifier PYTHON]

A neuron sees white noise I and spikes in bin t with probability

    P(y_t = 1) = logistic(b + sum_{j < 9} h_j I_{t - j}),      theta = (b, h),

over 100 bins; its statistics, the number of spikes and the sum of the stimuli before them at each
lag, are sufficient. The prior is normal with a precision that makes h smooth. The true posterior
was sampled by Polya-Gamma data augmentation, ``glm/ln_reference_posterior.npz`` under
``$LANTERNFISH_DATA``.

For each seed: CPU seconds from the start, or the seed before, to samples, and the classifier
two-sample test (0.5 is perfect) twice: by a logistic regression on all products of two parameters,
which sees means and covariances, and, with ``--classifier``, a Python that has scikit-learn (the
peers'), by the perceptron of the sbibm paper (``sbibm/c2st.py``).

Reference: Goncalves et al. (2020), eLife 9:e56261, Methods "Linear-nonlinear encoding model".
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import lanternfish as lf

NAMES = ("b", *(f"h{j}" for j in range(9)))
STATISTICS = ("spikes", *(f"sum{j}" for j in range(9)))
FOLDS = 5


def prior() -> lf.Prior:
    """N(0, P^-1): P = 1/2 for b; F'F for h, F = D^2 + diag(sqrt(i / 9)), D the first difference."""
    difference = np.eye(9) - np.eye(9, k=-1)
    root = difference @ difference + np.diag(np.sqrt(np.arange(9) / 9))
    precision = np.zeros((10, 10))
    precision[0, 0], precision[1:, 1:] = 0.5, root.T @ root
    return lf.Prior(lf.CorrelatedNormal(NAMES, np.zeros(10), np.linalg.inv(precision)))


def model(design: np.ndarray) -> lf.Model:
    """The neuron for a design matrix (bins, 10): ones, and the stimulus at each lag."""
    design = jnp.asarray(design, jnp.float32)

    def simulate(theta, key):
        drive = design @ jnp.stack([theta[name] for name in NAMES])
        return design.T @ jax.random.bernoulli(key, jax.nn.sigmoid(drive))

    return lf.Model(prior(), lf.JaxSimulator(simulate, STATISTICS), name="ln_filter")


def reference(folder: Path) -> dict[str, np.ndarray]:
    """Design ``X``, observed statistics ``x``, and ``samples`` (5500, 10) of the true posterior."""
    with np.load(folder / "glm" / "ln_reference_posterior.npz") as stored:
        return {name: stored[name] for name in ("X", "x", "samples", "mean", "cov")}


def posterior(truth: dict[str, np.ndarray], method: lf.NPE, seed: int) -> lf.Posterior:
    """What NPE learns of it."""
    cell = model(truth["X"])
    target = lf.Observation.from_array(truth["x"], cell.statistics)
    return lf.infer(cell, target, method, seed=seed, progress=False).posterior


def c2st_by_moments(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """Held-out accuracy of a logistic regression on all products, in five folds."""
    both = np.concatenate([first, second])
    both = (both - first.mean(axis=0)) / first.std(axis=0)
    i, j = np.triu_indices(both.shape[1])
    features = np.c_[np.ones(len(both)), both, both[:, i] * both[:, j]]
    labels = np.repeat([0.0, 1.0], [len(first), len(second)])
    fold = np.random.default_rng(seed).permutation(len(both)) % FOLDS
    right = [
        np.mean((features[fold == k] @ _fit(features[fold != k], labels[fold != k]) > 0)
                == labels[fold == k])
        for k in range(FOLDS)
    ]  # fmt: skip
    return float(np.mean(right))


def _fit(features: np.ndarray, labels: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Weights of a logistic regression, by Newton's method."""
    weights = np.zeros(features.shape[1])
    for _ in range(15):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        slope = features.T @ (chance - labels) + ridge * weights
        curvature = (features.T * (chance * (1 - chance))) @ features
        weights -= np.linalg.solve(curvature + ridge * np.eye(len(weights)), slope)
    return weights


def _c2st_by_perceptron(python: str, first: np.ndarray, second: np.ndarray) -> float:
    code = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); import c2st; "
        "given = np.load(sys.argv[2]); print(c2st.c2st(given['first'], given['second']))"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.npz"
        np.savez(path, first=first, second=second)
        command = [python, "-c", code, str(Path(__file__).parent / "sbibm"), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--classifier", help="a Python with scikit-learn")
    given = parser.parse_args()
    if "LANTERNFISH_DATA" not in os.environ:
        sys.exit("Expected LANTERNFISH_DATA, the folder that holds glm/; got none.")
    truth = reference(Path(os.environ["LANTERNFISH_DATA"]))
    print(f"{'seed':>4}{'CPU s':>8}{'moments':>9}{'perceptron':>12}")
    before = 0.0
    for seed in given.seeds:
        found = posterior(truth, lf.NPE(given.simulations), seed)
        drawn = found.sample(len(truth["samples"]), seed=seed).array
        cpu, before = time.process_time() - before, time.process_time()
        text = f"{seed:4}{cpu:8.0f}{c2st_by_moments(truth['samples'], drawn):9.3f}"
        if given.classifier:
            text += f"{_c2st_by_perceptron(given.classifier, truth['samples'], drawn):12.3f}"
        print(text, flush=True)


if __name__ == "__main__":
    main()
