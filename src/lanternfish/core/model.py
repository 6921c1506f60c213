"""``Model``: a prior, a simulator and the statistics that it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lanternfish.core.columns import Column
from lanternfish.core.prior import Prior
from lanternfish.core.properties import EmergentProperty
from lanternfish.core.simulators import Simulator
from lanternfish.core.targets import Observation


@dataclass(frozen=True)
class Model:
    """A prior over named parameters and a simulator that reports named statistics or raw data.

    Args:
        prior: distribution of the parameters.
        simulator: what turns parameters into statistics.
        name: for titles, files and reports.
        targets: named observations and emergent properties that come with the model; each fits its
            statistics.
        traces: ``traces(theta, seeds) -> Traces`` for plots of predicted traces, where the model
            has any.
        about: one paragraph for people, with its reference.
    """

    prior: Prior
    simulator: Simulator
    name: str = "model"
    targets: Mapping[str, Observation | EmergentProperty] = field(default_factory=dict)
    traces: Any = None
    about: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.prior, Prior):
            raise TypeError(f"Expected a Prior; got {self.prior!r}.")
        if not isinstance(self.simulator, Simulator):
            raise TypeError(
                "Expected a JaxSimulator, PythonSimulator, BatchSimulator or Elsewhere; "
                f"got {self.simulator!r}."
            )
        for target in self.targets.values():
            target.check(self.statistics)

    @property
    def parameters(self) -> tuple[Column, ...]:
        return self.prior.columns

    @property
    def statistics(self) -> tuple[Column, ...]:
        return self.simulator.columns

    def describe(self) -> Description:
        """What identifies the model: for the paper trail and to recognise it when resuming."""
        described = Description(
            name=self.name,
            parameters=[c.as_list() for c in self.parameters],
            statistics=[c.as_list() for c in self.statistics],
            prior=self.prior.to_dict(),
            simulator=self.simulator.fingerprint,
        )
        described.model = self
        return described


class Description(dict):
    """What identifies a model, plain values by name.

    ``model`` is the model itself as long as it stays in memory; a description that was stored and
    read again has none.
    """

    model: Model | None = None

    def __reduce__(self):
        return dict, (dict(self),)


@dataclass(frozen=True)
class Traces:
    """Traces of several simulations: what an electrode would have recorded.

    Args:
        time: shape (t,), in ``time_unit``.
        values: shape (n, channels, t), in ``unit``.
        channels: a name for each channel.
    """

    time: Any
    values: Any
    channels: tuple[str, ...]
    unit: str = "mV"
    time_unit: str = "ms"
