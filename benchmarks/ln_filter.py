"""The LN temporal filter: how far NPE and NLE are from the true posterior of ten parameters.

    python benchmarks/ln_filter.py [--simulations 10000] [--seeds 0 1 2] [--classifier PYTHON]
    python benchmarks/ln_filter.py --method NLE --rounds 5

The model is ``lanternfish.models.ln_filter``. Its true posterior was sampled by Polya-Gamma data
augmentation, ``glm/ln_reference_posterior.npz`` under ``$LANTERNFISH_DATA``.

For each seed: CPU seconds from the start, or the seed before, to samples, and the classifier
two-sample test (0.5 is perfect) by a logistic regression on all products of two parameters, which
sees means and covariances; by our perceptron (``diagnostics.compare``); and, with ``--classifier``,
a Python that has scikit-learn (the peers'), by that of the sbibm paper (``sbibm/c2st.py``). Then
the largest difference of a mean in true standard deviations, and how far the covariance is off,
|cov - true| / |true| in Frobenius norm.

Reference: Goncalves et al. (2020), eLife 9:e56261, Methods "Linear-nonlinear encoding model".
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import lanternfish as lf
from lanternfish.diagnostics.c2st import c2st

FOLDS = 5
MANY = 50_000  # samples that moments are taken from


def reference(folder: Path) -> dict[str, np.ndarray]:
    """Design ``X``, observed statistics ``x``, and ``samples`` (5500, 10) of the true posterior."""
    with np.load(folder / "glm" / "ln_reference_posterior.npz") as stored:
        return {name: stored[name] for name in ("X", "x", "samples", "mean", "cov")}


def posterior(method: lf.NPE | lf.NLE, seed: int) -> lf.Posterior:
    """What a method learns of it."""
    cell = lf.models.ln_filter()
    return lf.infer(cell, cell.targets["cell"], method, seed=seed, progress=False).posterior


def moments_off(truth: dict[str, np.ndarray], drawn: np.ndarray) -> tuple[float, float]:
    """Largest difference of means in true deviations, and the covariance's relative one."""
    mean = np.abs(drawn.mean(axis=0) - truth["mean"]) / np.sqrt(np.diag(truth["cov"]))
    covariance = np.linalg.norm(np.cov(drawn.T) - truth["cov"]) / np.linalg.norm(truth["cov"])
    return float(mean.max()), float(covariance)


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
    parser.add_argument("--method", choices=("NPE", "NLE"), default="NPE")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--classifier", help="a Python with scikit-learn")
    given = parser.parse_args()
    if "LANTERNFISH_DATA" not in os.environ:
        sys.exit("Expected LANTERNFISH_DATA, the folder that holds glm/; got none.")
    truth = reference(Path(os.environ["LANTERNFISH_DATA"]))
    print(f"{'seed':>4}{'CPU s':>8}{'moments':>9}{'ours':>8}{'mean':>8}{'cov':>8}  perceptron")
    before = 0.0
    for seed in given.seeds:
        method = getattr(lf, given.method)(given.simulations, rounds=given.rounds)
        found = posterior(method, seed)
        drawn = found.sample(len(truth["samples"]), seed=seed).array
        cpu, before = time.process_time() - before, time.process_time()
        text = f"{seed:4}{cpu:8.0f}{c2st_by_moments(truth['samples'], drawn):9.3f}"
        text += f"{c2st(truth['samples'], drawn).value:8.3f}"
        many = found.sample(MANY, seed=seed).array
        text += "".join(f"{off:8.3f}" for off in moments_off(truth, many))
        if given.classifier:
            text += f"{_c2st_by_perceptron(given.classifier, truth['samples'], drawn):12.3f}"
        print(text, flush=True)


if __name__ == "__main__":
    main()
