"""A compiled program: rates and current of an ion channel from the noise of many.

``channel.c`` takes parameters and a seed as arguments and prints statistics; any program that can
do so is a simulator. Each channel opens at rate alpha and closes at rate beta, so the current of n
of them has

    mean n i p,    variance n i^2 p (1 - p),    correlation exp(-(alpha + beta) t),

with p = alpha / (alpha + beta): the three statistics identify the three parameters.

    python compiled_program.py --simulations 500

Reference: Neher & Stevens, Annu Rev Biophys Bioeng 6 (1977).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import lanternfish as lf

SOURCE = Path(__file__).with_name("channel.c")
TRUTH = {"alpha": 0.3, "beta": 0.9, "current": 1.5}
STATISTICS = ("mean", "sd", "correlation")


def compiled(folder):
    """The program, compiled into this folder: its path."""
    compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        sys.exit("Expected a C compiler (cc, gcc or clang); got none: install one, such as gcc.")
    program = Path(folder) / "channel"
    subprocess.run([compiler, "-O2", "-o", program, SOURCE, "-lm"], check=True)
    return str(program)


def simulate(program, theta, rng):
    numbers = [f"{theta[name]:.17g}" for name in ("alpha", "beta", "current")]
    seed = str(rng.integers(2**63))
    done = subprocess.run([program, *numbers, seed], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{Path(program).name} ended with {done.returncode}: {done.stderr}")
    return [float(word) for word in done.stdout.split()]


def model(program):
    prior = lf.Prior(
        alpha=lf.LogUniform(0.05, 5, unit="1/ms"),
        beta=lf.LogUniform(0.05, 5, unit="1/ms"),
        current=lf.Uniform(0.5, 3, unit="pA"),
    )
    simulator = lf.PythonSimulator(partial(simulate, program), STATISTICS, time_limit=10)
    return lf.Model(prior, simulator)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=500)
    budget = parser.parse_args().simulations

    with tempfile.TemporaryDirectory() as folder:
        channels = model(compiled(folder))
        measured = lf.simulate(channels, theta=TRUTH, seed=1).x
        target = lf.Observation("simulated", **{n: measured[n][0] for n in STATISTICS})
        run = lf.infer(channels, target, lf.NPE(simulations=budget))
    print(run.simulations.report())
    for marginal in run.posterior.marginals():
        print(f"{marginal!r}; true {TRUTH[marginal.column.name]:g}")


if __name__ == "__main__":
    main()
