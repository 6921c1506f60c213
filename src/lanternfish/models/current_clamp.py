"""Current clamp: the current that drives a neuron, and seven statistics of its response.

A response V(t) at samples t_i = i dt is described over two windows,

    rest       t < t_on                     (its last tenth: 0.9 t_on <= t < t_on)
    stimulus   t_on < t < t_off

by the spike count in the stimulus; mean of V at rest; standard deviation of V in the last tenth of
rest; and of V in the stimulus the mean, the variance, and third and fourth central moments over the
third and fourth power of the standard deviation. A spike is a local maximum above -10 mV, at least
0.5 ms after the local maximum above -10 mV before it.

Reference: Goncalves et al. (2020), eLife 9:e56261, Methods "Hodgkin-Huxley model". Their text says
standard deviation for the fifth statistic; their code and their data have the variance, as here.
Which samples a window holds is settled by their values: with any other choice, digits of the
noise-free model or of the recordings differ.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from lanternfish.core import Column
from lanternfish.models import hodgkin_huxley_kernel as kernel

STATISTICS = (
    Column("spikes", "", "spike count"),
    Column("rest", "mV", r"$V_\mathrm{rest}$"),
    Column("rest_sd", "mV", r"$\sigma(V_\mathrm{rest})$"),
    Column("mean", "mV", r"$\langle V \rangle$"),
    Column("variance", "mV2", r"$\mathrm{Var}(V)$"),
    Column("skewness", "", "skewness of $V$"),
    Column("kurtosis", "", "kurtosis of $V$"),
)
SETS = (7, 4, 1)  # all of them; the first four; the spike count

LONGEST_STEP = 0.05  # ms; spikes are about 1 ms wide
LEAST_INTERVAL = 0.5  # ms between two spikes


@dataclass(frozen=True, eq=False, repr=False)
class Stimulus:
    """A current over time and the windows of its statistics.

    Args:
        current: shape (samples,), uA/cm2; entry i flows from t = i dt to (i + 1) dt.
        dt: ms, at most 0.05.
        v_0: membrane potential at t = 0, mV.
        t_on: end of rest, ms; 10 samples or later.
        t_off: end of the stimulus, ms; before the last sample.

    Raises:
        ValueError: if one of them does not fit.
    """

    current: np.ndarray
    dt: float
    v_0: float
    t_on: float
    t_off: float

    def __post_init__(self) -> None:
        current = np.array(self.current, np.float64)
        if current.ndim != 1 or not np.all(np.isfinite(current)):
            raise ValueError(
                "Expected a finite current of shape (samples,); "
                f"got shape {current.shape} with {np.sum(~np.isfinite(current))} values not finite."
            )
        if not 0 < self.dt <= LONGEST_STEP:
            raise ValueError(
                f"Expected dt of at most {LONGEST_STEP} ms; got {self.dt}: "
                "interpolate the current to smaller steps."
            )
        if not np.isfinite(self.v_0):
            raise ValueError(f"Expected a finite v_0 in mV; got {self.v_0}.")
        end = (len(current) - 1) * self.dt
        if not (10 * self.dt <= self.t_on < self.t_off - self.dt and self.t_off <= end):
            raise ValueError(
                f"Expected {10 * self.dt:.6g} ms <= t_on < t_off <= {end:.6g} ms, the last sample; "
                f"got t_on = {self.t_on:.6g} and t_off = {self.t_off:.6g}."
            )
        current.flags.writeable = False
        object.__setattr__(self, "current", current)

    @property
    def time(self) -> np.ndarray:
        """Times of the samples, shape (samples,), ms."""
        return np.arange(len(self.current)) * self.dt

    def protocol(self, noise: bool = True) -> kernel.Protocol:
        """The same in sample numbers, for the integrators."""
        on = round(self.t_on / self.dt)
        return kernel.Protocol(
            current=self.current.astype(np.float32),
            dt=np.float32(self.dt),
            v_0=np.float32(self.v_0),
            on=on,
            late=-(-9 * on // 10),
            first=on + 1,
            last=round(self.t_off / self.dt),
            gap=int(np.ceil(LEAST_INTERVAL / self.dt - 1e-6)),
            noisy=bool(noise),
        )

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.current.tobytes()).hexdigest()[:12]
        return (
            f"Stimulus({len(self.current)} samples {digest}, dt={self.dt}, v_0={self.v_0}, "
            f"t_on={self.t_on}, t_off={self.t_off})"
        )


def step_current(
    density: float, *, duration: float, t_on: float, t_off: float, dt: float, v_0: float
) -> Stimulus:
    """A step of ``density`` (uA/cm2) from t_on to t_off (ms), zero around it."""
    samples = round(duration / dt) + 1
    current = np.zeros(samples)
    current[round(t_on / dt) : round(t_off / dt)] = density
    return Stimulus(current, dt, v_0, t_on, t_off)


def measure(voltage: np.ndarray, stimulus: Stimulus, statistics: int = 7) -> np.ndarray:
    """Statistics of recorded or simulated responses, shape (n, statistics).

    Args:
        voltage: shape (n, samples) or (samples,), mV.
        stimulus: what was injected.
        statistics: 7, 4 or 1; the first so many of ``STATISTICS``.

    Raises:
        ValueError: if voltage and stimulus differ in length, or ``statistics`` is another number.
    """
    check_set(statistics)
    given = np.atleast_2d(np.asarray(voltage, np.float32))
    if given.ndim != 2 or given.shape[1] != len(stimulus.current):
        raise ValueError(
            f"Expected voltages of shape (n, {len(stimulus.current)}), one for each sample of the "
            f"current; got {np.shape(voltage)}."
        )
    x = np.empty((len(given), len(STATISTICS)))
    kernel.measure(np.ascontiguousarray(given), stimulus.protocol(), x)
    return x[:, :statistics]


def check_set(statistics: int) -> None:
    """Raise one sentence if this is not a number of statistics that there is."""
    if statistics not in SETS or isinstance(statistics, bool):
        raise ValueError(f"Expected statistics to be 7, 4 or 1; got {statistics!r}.")
