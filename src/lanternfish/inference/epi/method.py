"""Emergent property inference (Loaiza-Ganem, Gao & Cunningham 2017; Bittner et al. 2021).

Of all distributions of parameters whose statistics have the wanted means and variances, the one of
maximum entropy:

    maximise  H(q)    subject to    E_q[T(theta)] = [0 ; 1],

with T the whitened statistics and their squares (``problem``). A study is a pilot from the prior, a
population that is annealed to the property (``population``), densities fitted to it (``start``), a
compiled loop over all of them (``training``), a step that takes what is left of the residual
(``projection``) and a judgement on fresh simulations: whether q has the property (``convergence``)
and how much entropy there is to have beyond that of q (``certificate``). What is not proven is
trained further, twice at most; then the best distribution is returned, marked as not converged.

Where simulations say too little by themselves, because noise is as wide as the property, a network
may learn first what is expected of them (``learned``), and takes their place but in the judgement.

For a range of properties one conditional density is trained (``span``), and judged at several of
them; then any of the range is had at once, by the posterior's ``at``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from lanternfish import flows
from lanternfish.core import EmergentProperty, JaxSimulator, PropertyRange, Simulations
from lanternfish.core.seeds import stream
from lanternfish.inference import checkpoints
from lanternfish.inference.agreement import disagreement
from lanternfish.inference.epi import training
from lanternfish.inference.epi.certificate import or_by_population
from lanternfish.inference.epi.convergence import Tolerance
from lanternfish.inference.epi.judge import Judged, judge, judge_again, over_range
from lanternfish.inference.epi.learned import Learned, joined, learn, taught
from lanternfish.inference.epi.memory import Memory, Recorder
from lanternfish.inference.epi.pilot import Pilot, fly
from lanternfish.inference.epi.population import SIZE, Annealed, anneal, recalled
from lanternfish.inference.epi.posterior import EPIPosterior
from lanternfish.inference.epi.problem import Problem
from lanternfish.inference.epi.projection import Drawn, Remembered, projected
from lanternfish.inference.epi.runaway import check_held
from lanternfish.inference.epi.span import Span
from lanternfish.inference.epi.start import fitted
from lanternfish.inference.epi.training import Fixed, Loop, State
from lanternfish.inference.progress import Progress, Stage
from lanternfish.inference.rounds import Fitted, Study

_BASES = ("uniform", "prior")
_GRADIENTS = ("auto", "path", "score", "learned")
_STAGE = Stage("train", 1, 1)
_LEAST_SAMPLES = 4_000
_JUDGED, _JUDGED_AGAIN = 2**40, 2**41
_LONGER = 3  # times the steps for a range of properties
_SLACK = 0.3  # of the tolerance of means and variances, for what is learned, times
_SLACKS = (0.05, 1, 3, 10)  # the least first; the second, where statistics hang together
_LAST_POPULATION = 4  # times as many members for the density as for rounds of simulations
_ROUNDS_LEARNED = 4
_MORE_AGAIN = 4  # times the simulations of rounds, where training goes on and they are in JAX
_FURTHER = 2  # times the steps to the property in many dimensions


@dataclass(frozen=True)
class EPI:
    """Emergent property inference.

    Args:
        members: densities that are trained side by side, each from its own seed; the best is kept.
        trials: simulations of each parameter set, whose mean is the statistic.
        base: what entropy is relative to: ``"uniform"`` on the prior's support, as published, or
            the ``"prior"``, which makes the answer independent of the parameters' units.
        gradient: of the statistics: ``"path"``, through the simulator; ``"score"``, without;
            ``"learned"``, of what a network expects of them, for noisy statistics of any simulator
            (``learned``); ``"auto"``: the last where statistics are costly, noisy and more than the
            parameters, else the first where the simulator has one, else the second.
        samples: fresh parameter sets that judge the result.
        tolerance: how near the property is near enough.
        population: how many are annealed to the property before the loop, a multiple of 8; 0: the
            loop starts from the prior; by the cost of a simulation where left out.
        loop: settings of the training loop.
        push: what the density is made of; by its dimension where left out.

    >>> import lanternfish as lf
    >>> lf.EPI(members=3).base
    'uniform'
    """

    members: int = 1
    trials: int = 1
    base: str = "uniform"
    gradient: str = "auto"
    samples: int = 20_000
    tolerance: Tolerance = field(default_factory=Tolerance)
    population: int | None = None
    loop: Loop = field(default_factory=Loop)
    push: flows.Push | None = None

    name: ClassVar[str] = "EPI"
    target: ClassVar[type] = EmergentProperty

    def __post_init__(self) -> None:
        for name, least in (("members", 1), ("trials", 1), ("samples", 100)):
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} of at least {least}; got {getattr(self, name)}.")
        if self.population is not None and (self.population < 0 or self.population % 8):
            raise ValueError(
                f"Expected a population that is a multiple of 8, or 0; got {self.population}."
            )
        if self.gradient == "learned" and self.population == 0:
            raise ValueError(
                "Expected a population for gradient='learned', whose members are simulated; got "
                "population=0: leave population out."
            )
        for name, known in (("base", _BASES), ("gradient", _GRADIENTS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Expected {name} of {', '.join(known)}; got {getattr(self, name)!r}."
                )

    @property
    def fresh(self) -> int:
        """Parameter sets that judge the result: fewer where each takes several trials."""
        return max(min(self.samples, _LEAST_SAMPLES), self.samples // self.trials)

    def describe(self) -> dict:
        """Hyperparameters, for the paper trail."""
        return {"name": self.name, **asdict(self)}

    def fit(self, study: Study) -> Fitted:
        """Find the distribution of a study."""
        study.tell(Progress(_STAGE, 0.0, None, "preparing"))
        span = Span(study.target)
        if span.dim and not isinstance(study.model.simulator, JaxSimulator):
            raise ValueError(
                "Expected a JaxSimulator for a range of properties; got "
                f"{type(study.model.simulator).__name__}: run EPI for one property at a time."
            )
        problem = Problem(study.model, study.target, self.trials, self.base)
        pilot = fly(study, problem, self.gradient)
        push = self.push or flows.push_for(len(study.model.prior))
        search = _Search(self, study, problem, pilot, push, span)
        best, state, curves, found = search.run()
        posterior = replace(
            self.posterior(study, push, search.density(state, best)),
            converged=best.passed,
            entropy=best.certificate.entropy,
        )
        simulations = pilot.simulations + search.simulations(state) + best.simulations
        history = {
            "curves": curves,
            "member": best.member,
            "members": [judged.as_plain() for judged in found],
            "disagreement": self._disagreement(study, push, search, state, found),
            "gradient": search.gradient,
            "noisy": pilot.noisy,
            "simulated": len(simulations) + search.compiled_simulations(state),
            "notes": list(pilot.notes),
        }
        if search.annealed is not None:
            history["annealed"] = search.annealed.as_plain()
        certificate = best.certificate
        if search.annealed is not None and pilot.weighed and not search.learned:
            certificate = or_by_population(
                certificate, search.annealed.entropy, search.annealed.error
            )
        checks = {"convergence": best.convergence, "entropy": certificate.as_plain()}
        return Fitted(posterior, simulations, history, checks)

    def _disagreement(self, study, push, search, state, found: list[Judged]) -> float | None:
        """Between members that have the property, in nats; None where there are not two."""
        proven = [
            self.posterior(study, push, search.density(state, judged))
            for judged in found if judged.passed
        ]  # fmt: skip
        seed = stream(study.seed, "disagreement")
        return disagreement(proven, seed=seed) if len(proven) > 1 else None

    def posterior(self, study: Study, push, density: flows.Pushforward) -> EPIPosterior:
        """A density as the posterior of a study, of which nothing is proven yet."""
        ranged = study.target if isinstance(study.target, PropertyRange) else None
        return EPIPosterior(
            prior=study.model.prior,
            statistics=study.model.statistics,
            target=study.target if ranged is None else ranged.middle,
            flow=density,
            push=push,
            base=self.base,
            range=ranged,
        )


class _Search:
    """Training of all members, and judgements until one is proven or nothing more helps."""

    ROUNDS = 3

    def __init__(
        self, method: EPI, study: Study, problem: Problem, pilot: Pilot, push, span: Span
    ) -> None:
        self.method, self.study, self.problem, self.pilot = method, study, problem, pilot
        self.push = push
        seeds = [stream(study.seed, f"member {i}") for i in range(method.members)]
        dim = len(study.model.prior)
        built = [flows.pushforward(seed, push, dim, span.dim) for seed in seeds]
        longer, further = _LONGER if span.dim else 1, _FURTHER if dim > training.MANY else 1
        self.loop = replace(
            method.loop,
            tighten=longer * further * method.loop.tighten,
            polish=longer * method.loop.polish,
        )
        self.fixed = Fixed(problem, built[0], span, self.loop, pilot.path, not pilot.weighed)
        self.recorder, self.projecting = None, 0  # simulations of projections
        costly = pilot.costly and not span.dim and not self.fixed.many
        self.learned = method.gradient == "learned" or self._asks_for_a_network(costly)
        if self.learned and (span.dim or self.fixed.many):
            raise ValueError(
                "Expected one property of few parameters for gradient='learned'; got "
                f"{'a range of properties' if span.dim else f'{dim} parameters'}: use "
                "gradient='auto'."
            )
        if problem.simulation is None or costly or self.learned:
            first = len(pilot.simulations)
            self.recorder = Recorder(study, problem, self.loop.round, first)
        states = [training.first_state(flow, self.loop, pilot.spread, span) for flow in built]
        self.annealed = self._anneal()
        if self.annealed is not None:
            near = [fitted(flow, self.annealed.z, seed, self.loop.fit)
                    for flow, seed in zip(built, seeds, strict=True)]  # fmt: skip
            eta, found = jnp.asarray(self.annealed.eta), self.annealed.spread
            states = [training.begun(s, q, eta, found) for s, q in zip(states, near, strict=True)]
        self.state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        self.keys = jnp.stack([jr.key(seed % 2**32) for seed in seeds])

    @property
    def _many_statistics(self) -> bool:
        """Whether statistics are more than parameters, so that they hang together."""
        return self.problem.constraints > len(self.study.model.prior)

    def _asks_for_a_network(self, costly: bool) -> bool:
        """Whether statistics hang together, and are too noisy and costly as they are."""
        able = self.method.gradient == "auto" and self.method.population != 0
        return costly and self._many_statistics and able and not self.pilot.weighed

    @property
    def gradient(self) -> str:
        """How the loop follows the statistics, for the history of a run."""
        if self.learned:
            return "learned"
        return "path" if self.pilot.path and self.recorder is None else "score"

    def _anneal(self) -> Annealed | None:
        """A population at the property, where there is a way to it."""
        if self.learned:
            return self._anneal_learned()
        problem, dim = self.problem, len(self.study.model.prior)
        size = self.method.population
        if problem.simulation is None or self.fixed.span.dim or dim > training.MANY or size == 0:
            return None
        place = None if self.study.folder is None else self.study.folder / "training" / "population"
        if place is not None and checkpoints.kept(place):
            return recalled(place, problem)
        seed = stream(self.study.seed, "population")
        found = anneal(problem, seed, self.pilot, self._tell_level, size)
        if found is not None and place is not None:
            found.keep(place)
        return found

    def _anneal_learned(self) -> Annealed | None:
        """A population at the property by what a network expects, after rounds of simulations."""
        recorder = self.recorder
        assert recorder is not None
        seed, last, rounds = stream(self.study.seed, "learned"), [], []

        def simulated(z: Array) -> Memory:
            self.study.tell(Progress(_STAGE, 0.0, None, f"simulating, round {len(rounds) + 1}"))
            rounds.append(z)
            return recorder.at(z, len(rounds) - 1)

        def optimum(model: Learned) -> Array | None:
            last.append(self._loosened(model, seed + len(rounds)))
            return None if last[-1] is None else jnp.asarray(last[-1].z)

        model, self.known = learn(self.problem, simulated, optimum, seed)
        found = self._loosened(model, seed, last=True) or next((f for f in last[::-1] if f), None)
        slack = None if found is None else found.slack
        self.fixed = replace(
            self.fixed, problem=model, path=found is None, noisy=False, slack=slack
        )
        return None if found is None else replace(found, simulations=0)

    def _taught_again(self, state: State, judged: Judged, number: int) -> State:
        """The state at the optimum of a network that knows simulations of an answer, too."""
        seed = stream(self.study.seed, f"learned {number}")
        assert isinstance(self.fixed.problem, Learned)
        assert self.recorder is not None
        members, density = self.method.members, self.density(state, judged)
        points = self.recorder.points(density, number * members + judged.member)
        self.known = joined(self.known, points)
        model = taught(self.fixed.problem, self.known, seed)
        found = self._loosened(model, seed, last=True)
        self.fixed = replace(self.fixed, problem=model)
        if found is None:
            return state
        self.fixed = replace(self.fixed, slack=found.slack)
        self.annealed = replace(found, simulations=0)
        states = []
        for i in range(members):
            mine = jax.tree.map(lambda part, i=i: part[i], state)
            mine = mine._replace(moments=jax.tree.map(jnp.zeros_like, mine.moments))
            near = fitted(self.fixed.density(mine.average), found.z, seed + i, self.loop.fit)
            states.append(training.begun(mine, near, jnp.asarray(found.eta), found.spread))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def _loosened(self, model: Learned, seed: int, last: bool = False) -> Annealed | None:
        """A population at the optimum of a network, with as little slack as there is a way with."""
        quiet = replace(self.pilot, noise=0.0, costly=False)
        tolerance = self.method.tolerance
        size = (self.method.population or SIZE) * (_LAST_POPULATION if last else 1)
        for times in _SLACKS[1 if self._many_statistics else 0 :]:
            slack = times * _SLACK * tolerance.mean, times * _SLACK * tolerance.variance
            found = anneal(model, seed, quiet, self._tell_level, size, slack)
            if found is not None:
                return found
        return None

    def _tell_level(self, level: dict) -> None:
        text = f"entropy {level['entropy']:.2f}, {level['length']:.2f} from the property"
        values = {"distance_from_property": float(level["length"])}
        if level["base"] == 1:
            values["entropy"] = float(level["entropy"])
        self.study.tell(Progress(_STAGE, 0.0, None, text, values))

    def run(self) -> tuple[Judged, State, list[dict], list[Judged]]:
        """The best member, the state and curves of all, and what was found of each."""
        state, curves, best, kept = self.state, [], None, None
        for number in range(_ROUNDS_LEARNED if self.learned else self.ROUNDS):
            place = None if self.study.folder is None else self.study.folder / "training"
            place = None if place is None else place / f"round-{number + 1}"
            recorder = None if self.learned else self.recorder
            if number and recorder is not None and self.problem.simulation is not None:
                recorder.size = _MORE_AGAIN * self.loop.round  # what is rare has to be seen
            state, more = training.train(self.fixed, state, self.keys, place, self._tell, recorder)
            curves += more
            state = self._projected(state, number)
            found = self._judge(state, number)
            now = max(found, key=_rank)
            if best is None or _rank(now) >= _rank(best):
                best, kept = now, (state.average, found)
            if now.passed or now.hopeless:
                break
            state = training.again(state)
            state = self._taught_again(state, now, number) if self.learned else state
        assert best is not None
        assert kept is not None
        average, found = kept
        return best, state._replace(average=average), curves, found

    def _projected(self, state: State, number: int) -> State:
        """The averages with the property's moments; of what is learned, rounds see to it."""
        if self.fixed.span.dim or self.learned:
            return state
        averages = []
        for i, params in enumerate(state.average):
            self.study.tell(Progress(_STAGE, 1.0, None, "taking the rest of the residual away"))
            density = self.fixed.density(params)
            moments = self._moments(density, number * self.method.members + i)
            flow = projected(density, moments)
            self.projecting += moments.simulated
            averages.append(ravel_pytree(eqx.filter(flow, eqx.is_inexact_array))[0])
        return state._replace(average=jnp.stack(averages))

    def _moments(self, density: flows.Pushforward, number: int) -> Drawn | Remembered:
        if self.recorder is not None:
            return Remembered(self.recorder.points(density, number))
        seed = stream(self.study.seed, f"projection {number % self.method.members}")
        return Drawn(self.problem, density.dim, seed, self.fixed.path)

    def simulations(self, state: State) -> Simulations:
        """What was simulated for training, where that is not part of the compiled loop."""
        if self.recorder is not None:
            rounds = 0 if self.learned else int(np.max(state.step)) // training.EPOCH
            return self.recorder.simulations(rounds)
        return Simulations.empty(self.study.model.parameters, self.study.model.statistics)

    def compiled_simulations(self, state: State) -> int:
        """How many were simulated inside the compiled loop, of which none are kept."""
        before = self.projecting + (0 if self.annealed is None else self.annealed.simulations)
        if self.recorder is not None:
            return before
        each = self.fixed.draws_a_step * self.problem.trials
        return before + int(np.sum(state.step)) * each

    def density(self, state: State, judged: Judged) -> flows.Pushforward:
        return self.fixed.density(state.average[judged.member])

    def _middle(self, flow: flows.Pushforward):
        """The density of the middle of a range, or of the property."""
        return flow.steered(jnp.zeros(self.fixed.span.dim)) if self.fixed.span.dim else flow

    def _judge(self, state: State, number: int) -> list[Judged]:
        members = range(self.method.members)
        return [over_range([*self._judged(state, number, i)], self.study.target) for i in members]

    def _judged(self, state: State, number: int, member: int) -> Iterator[tuple[tuple, Judged]]:
        """A member at one property, or at several of a range, each with its means."""
        span, target = self.fixed.span, self.study.target
        points = span.judged()
        each = 4 * self.method.fresh * self.method.trials
        first = _JUDGED + (number * self.method.members + member) * len(points) * each
        whole = self.fixed.density(state.average[member])
        for at, c in enumerate(points):
            asked = span.at(target, c)
            where = jnp.asarray(c, jnp.float32)
            density = whole.steered(where) if span.dim else whole
            study = replace(self.study, target=asked)
            problem = Problem(self.study.model, asked, self.method.trials, self.method.base)
            found = judge(
                study, self.method, problem, density,
                np.asarray(jnp.tensordot(span.weights(where), state.eta[member], 1)),
                member=member, first=first + at * each, noisy=self.pilot.noisy,
            )  # fmt: skip
            if found.undecided(asked, self.method.tolerance):
                found = judge_again(
                    study, self.method, problem, density, found,
                    first=_JUDGED_AGAIN + first + at * each,
                )  # fmt: skip
            yield tuple(asked[name].mean for name in getattr(target, "ranges", ())), found

    def _tell(self, state: State, curves: list[dict]) -> None:
        for params in state.params:
            check_held(self._middle(self.fixed.density(params)), self.problem)
        loop, step = self.loop, int(np.max(state.step))
        last = curves[-1]
        began = int(np.max(state.polish))
        share = step / (step + loop.polish) if began < 0 else (step - began) / loop.polish
        doing = "polishing" if began >= 0 else f"{min(last['length']):.2f} from the property"
        text = f"step {step}, entropy {max(last['entropy']):.2f}, {doing}"
        values = {
            "entropy": float(max(last["entropy"])),
            "distance_from_property": float(min(last["length"])),
        }
        density = self.fixed.density(state.average[0])
        now = partial(self.method.posterior, self.study, self.push, density)
        self.study.tell(Progress(_STAGE, min(share, 1.0), None, text, values, now))


def _rank(judged: Judged) -> tuple[bool, float]:
    return judged.passed, judged.score
