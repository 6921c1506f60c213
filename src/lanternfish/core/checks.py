"""``Check`` and ``Checks``: what was asked of a run, the answer in a sentence, and what to do.

A check gives a p-value where there is a law of chance to compare with, or none where it holds a
number against a stated limit. All p-values of a run are judged together (Holm 1979), so that a
posterior that is right fails any of them with a chance of at most ``FALSE_ALARM``:

    sort p_(1) <= ... <= p_(m);  (j) fails where  (m - i + 1) p_(i) < FALSE_ALARM  for all i <= j.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import EntryPoint
from typing import Any

FALSE_ALARM = 0.02  # chance that a run that is right fails, over all its checks
_PICTURES = EntryPoint("checks", "lanternfish.plot.verdicts:draw", "lanternfish.pictures")


@dataclass(frozen=True)
class Check:
    """One question about a run, and the answer.

    Attributes:
        name: such as ``"calibration"``.
        passed: whether the run stands the check.
        verdict: the answer, one or two sentences.
        advice: what to do where it fails.
        numbers: what was found, plain values by name.
        p_value: chance of so much where the posterior is right; None where a limit decides.
        simulations: that it took, beyond those that other checks had made.
        seconds: of computation.
        picture: what its figure shows, plain values; ``plot`` draws it.
    """

    name: str
    passed: bool
    verdict: str
    advice: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    p_value: float | None = None
    simulations: int = 0
    seconds: float = 0.0
    picture: Mapping[str, Any] = field(default_factory=dict)

    def plot(self):
        """Its figure, a ``matplotlib.figure.Figure`` (needs the extra ``plot``)."""
        return _PICTURES.load()(self)

    def as_plain(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, stored: Mapping[str, Any]) -> Check:
        return cls(**stored)

    def __repr__(self) -> str:
        words = f"{'passed' if self.passed else 'FAILED'}  {self.name}: {self.verdict}"
        return words if self.passed or not self.advice else f"{words}\n  What to do: {self.advice}"


@dataclass(frozen=True)
class Checks(Mapping[str, Check]):
    """All checks of a run, by name.

    Attributes:
        found: the checks.
        left_out: why others were not made, by name.
        simulations: extra ones that all took together.
        budget: that they might have taken.
    """

    found: Mapping[str, Check]
    left_out: Mapping[str, str] = field(default_factory=dict)
    simulations: int = 0
    budget: int = 0

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.found.values())

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.found.values() if not check.passed]

    @property
    def sentence(self) -> str:
        """How the run stands, first of all."""
        many = len(self.found)
        if not many:
            return "Not checked: no check could be made of this run."
        if self.passed:
            return f"Good: the run passed all {many} checks."
        names = ", ".join(check.name for check in self.failed)
        return f"Careful: the run failed {len(self.failed)} of {many} checks: {names}."

    def as_plain(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "sentence": self.sentence,
            "found": {name: check.as_plain() for name, check in self.found.items()},
            "left_out": dict(self.left_out),
            "simulations": self.simulations,
            "budget": self.budget,
        }

    @classmethod
    def from_plain(cls, stored: Mapping[str, Any]) -> Checks:
        found = {name: Check.from_plain(check) for name, check in stored["found"].items()}
        return cls(found, stored["left_out"], stored["simulations"], stored["budget"])

    def __getitem__(self, name: str) -> Check:
        if name in self.found:
            return self.found[name]
        if name in self.left_out:
            raise KeyError(f"Expected a check that was made; got {name}: {self.left_out[name]}")
        raise KeyError(f"Expected one of {', '.join(self.found)}; got {name}.")

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __repr__(self) -> str:
        lines = [self.sentence, *map(repr, self.found.values())]
        lines += [f"not made  {name}: {why}" for name, why in self.left_out.items()]
        return "\n".join([*lines, f"{self.simulations:,} extra simulations."])


def judged(checks: list[Check]) -> dict[str, Check]:
    """The checks by name, with those that have a p-value judged together."""
    by_p = sorted((c.p_value, i) for i, c in enumerate(checks) if c.p_value is not None)
    passed = {i: True for _, i in by_p}
    for rank, (p, i) in enumerate(by_p):
        if (len(by_p) - rank) * p >= FALSE_ALARM:
            break
        passed[i] = False
    found = [replace(c, passed=passed.get(i, c.passed)) for i, c in enumerate(checks)]
    return {c.name: c for c in found}
