"""Classifier two-sample test, as in the sbibm paper: 0.5 is a perfect posterior, 1.0 a useless one.

    python c2st.py --task two_moons --observations 1 2 3 samples.npz

runs in an environment that has scikit-learn (the peers'), and prints a JSON list: observation,
C2ST, CPU seconds. ``samples.npz`` holds arrays (n, d) by observation number. Both sets are
standardised by the reference's mean and standard deviation; the classifier is a perceptron with two
hidden layers of 10 x dim, rectified, Adam, at most 10,000 iterations; the result is its mean
accuracy over five shuffled folds.

``lanternfish.diagnostics.compare`` has the same classifier in JAX, for users; this one is kept as
the published numbers were made.

Reference: Lopez-Paz & Oquab (ICLR 2017); settings of Lueckmann et al. (AISTATS 2021).
"""

import argparse
import json

import numpy as np

import stored
from process import cost


def c2st(reference: np.ndarray, samples: np.ndarray, seed: int = 1) -> float:
    """Accuracy of telling reference (n, d) and samples (n, d) apart, in five-fold validation.

    Raises:
        ValueError: if the shapes differ, or a sample is not finite.
    """
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    if reference.shape != samples.shape:
        raise ValueError(f"Expected samples of shape {reference.shape}; got {samples.shape}.")
    if not np.all(np.isfinite(samples)):
        raise ValueError("Expected finite samples; got NaN or infinity.")
    mean, sd = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    both = (np.concatenate([reference, samples]) - mean) / sd
    labels = np.repeat([0, 1], len(reference))
    width = 10 * reference.shape[1]
    classifier = MLPClassifier(
        activation="relu",
        hidden_layer_sizes=(width, width),
        max_iter=10_000,
        solver="adam",
        random_state=seed,
    )
    folds = KFold(n_splits=5, shuffle=True, random_state=seed)
    return float(np.mean(cross_val_score(classifier, both, labels, cv=folds, scoring="accuracy")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples")
    parser.add_argument("--task", required=True)
    parser.add_argument("--observations", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    found = []
    with np.load(given.samples) as samples:
        for number in given.observations:
            before = cost()["cpu_s"]
            value = c2st(stored.reference(given.task, number), samples[str(number)])
            took = round(cost()["cpu_s"] - before, 1)
            found.append({"observation": number, "c2st": value, "cpu_s": took})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
