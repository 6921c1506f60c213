"""The Hodgkin-Huxley neuron on real cells: from a recording to a posterior that predicts it.

    python benchmarks/allen.py FOLDER [--simulations 20000] [--rounds 4]

For each NWB file in the folder: the wall time of ``infer``, and what circuits drawn from the
posterior predict: median spike count and resting potential beside the measured ones, and the share
of draws within 1 spike and 2 mV of them. Published: two rounds of 125,000 simulations for each cell
(Gonçalves et al. 2020).
"""

import argparse
import time
from pathlib import Path

import numpy as np

import lanternfish as lf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--simulations", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--cells", type=int, default=None, help="how many files, all by default")
    given = parser.parse_args()
    heads = ("wall s", "spikes", "median", "rest", "median", "close")
    widths = (8, 8, 8, 9, 9, 8)
    print(f"{'cell':<22}" + "".join(f"{h:>{w}}" for h, w in zip(heads, widths, strict=True)))
    for path in sorted(given.folder.glob("*.nwb"))[: given.cells]:
        row(path, lf.NPE(given.simulations, rounds=given.rounds))


def row(path: Path, method: lf.NPE) -> None:
    model = lf.models.hodgkin_huxley(recording=str(path))
    measured = model.targets["recording"]
    start = time.monotonic()
    run = lf.infer(model, measured, method, seed=0, progress=False)
    seconds = time.monotonic() - start
    x = lf.simulate(model, theta=run.posterior.sample(500), seed=1, progress=False).x
    close = (abs(x["spikes"] - measured["spikes"]) <= 1) & (abs(x["rest"] - measured["rest"]) <= 2)
    print(
        f"{path.stem:<22}{seconds:8.0f}{measured['spikes']:8.0f}{np.median(x['spikes']):8.0f}"
        f"{measured['rest']:9.2f}{np.median(x['rest']):9.2f}{close.mean():8.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
