"""One cell with the toolbox ``sbi``: from import to 10,000 samples for each observation.

    python peer_sbi.py --task slcp --budget 10000 --method nsf --out samples.npz

runs in the peers' environment (see ``benchmarks/peers``) and prints the same line of JSON as
``ours.py``. ``--method`` is a density estimator, ``nsf`` or ``maf``, with all else as sbi has it;
with several rounds also how: ``nsf-tsnpe`` (truncated proposals, the default) or ``nsf-apt``
(SNPE-C with the atomic loss). Samples outside the prior, which sbi rejects, are counted
afterwards, and not in the time.
"""

from process import cost  # first: wall time counts from here

# isort: split
import argparse
import json
import warnings

import numpy as np
import torch
from sbi.inference import NPE
from sbi.utils import BoxUniform, RestrictedPrior, get_density_thresholder

import numpy_tasks
import stored

SAMPLES = 10_000
QUANTILE = 1e-4  # of the posterior that a truncated proposal loses (Deistler et al. 2022)


def torch_prior(task: numpy_tasks.Task):
    if task.covariance is None:
        return BoxUniform(_tensor(task.low), _tensor(task.high))
    zeros = torch.zeros(len(task.covariance))
    return torch.distributions.MultivariateNormal(zeros, _tensor(task.covariance))


def _tensor(array) -> torch.Tensor:
    return torch.as_tensor(np.asarray(array), dtype=torch.float32)


class Study:
    """A task, its prior and simulator for sbi, and what trains, with sbi's defaults."""

    def __init__(self, name: str, density: str, seed: int) -> None:
        self.task = numpy_tasks.TASKS[name]
        self.prior = torch_prior(self.task)
        self.rng = np.random.default_rng(seed)
        self.inference = NPE(self.prior, density_estimator=density, show_progress_bars=False)

    def simulate(self, theta: torch.Tensor) -> torch.Tensor:
        return _tensor(self.task.simulate(theta.numpy().astype(np.float64), self.rng))


def one_round(study: Study, budget: int):
    """The posterior of ``NPE``, for any x."""
    theta = study.prior.sample((budget,))
    study.inference.append_simulations(theta, study.simulate(theta)).train()
    return study.inference.build_posterior()


def truncated(study: Study, budget: int, rounds: int, x: torch.Tensor):
    """The posterior of truncated sequential NPE (Deistler et al. 2022)."""
    inference, proposal, posterior = study.inference, study.prior, None
    for _ in range(rounds):
        theta = proposal.sample((budget // rounds,))
        inference.append_simulations(theta, study.simulate(theta))
        inference.train(force_first_round_loss=True)
        posterior = inference.build_posterior().set_default_x(x)
        accept = get_density_thresholder(posterior, quantile=QUANTILE)
        proposal = RestrictedPrior(study.prior, accept, sample_with="rejection")
    return posterior


def atomic(study: Study, budget: int, rounds: int, x: torch.Tensor):
    """The posterior of SNPE-C, atomic loss (Greenberg et al. 2019)."""
    inference, proposal, posterior = study.inference, study.prior, None
    for _ in range(rounds):
        theta = proposal.sample((budget // rounds,))
        inference.append_simulations(theta, study.simulate(theta), proposal=proposal).train()
        posterior = inference.build_posterior().set_default_x(x)
        proposal = posterior
    return posterior


def outside(posterior, prior, x: torch.Tensor) -> float:
    """Share of the density's own draws that lie outside the prior's support."""
    draws = posterior.posterior_estimator.sample((SAMPLES,), condition=x)
    inside = prior.support.check(draws.reshape(SAMPLES, -1))
    return float(1 - inside.float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", required=True, choices=numpy_tasks.TASKS)
    parser.add_argument("--observations", type=int, nargs="+", default=[1])
    parser.add_argument("--budget", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--method", default="nsf")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    density, _, how = given.method.partition("-")
    study = Study(given.task, density, given.seed)
    observed = {n: _tensor(stored.observation(given.task, n))[None] for n in given.observations}
    first = observed[given.observations[0]]
    if given.rounds == 1:
        posterior = one_round(study, given.budget)
    else:
        rounds = {"apt": atomic, "tsnpe": truncated, "": truncated}[how]
        posterior = rounds(study, given.budget, given.rounds, first)
    samples, result = {}, {"samples": SAMPLES}
    for n, x in observed.items():
        drawn = posterior.sample((SAMPLES,), x=x, show_progress_bars=False)
        samples[n] = drawn.numpy().astype(np.float64)
        if n == given.observations[0]:
            result |= cost()
    result |= {"cpu_all_s": cost()["cpu_s"], "epochs": study.inference.summary["epochs_trained"]}
    result["outside"] = {n: outside(posterior, study.prior, x) for n, x in observed.items()}
    np.savez(given.out, **{str(n): s for n, s in samples.items()})
    print("\n" + json.dumps(result))  # sbi leaves its last line without an end


if __name__ == "__main__":
    main()
