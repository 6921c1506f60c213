"""Simulate the pyloric network on the CPU: statistics with their weights, or voltages."""

from __future__ import annotations

import numpy as np

from lanternfish.models.kernels import seed_key
from lanternfish.models.stg import equations as eq
from lanternfish.models.stg import integrate, kernel
from lanternfish.models.stg.events import GAP, events
from lanternfish.models.stg.kernel import HISTORY, STEPS, WIDTH
from lanternfish.models.stg.parameters import BURST_THRESHOLD, STATISTICS
from lanternfish.models.stg.statistics import NAMES, SIZE
from lanternfish.models.stg.table import table

# ms; part of the model: noise is drawn per step, and small gaps move by 10 % and more with dt
DT = 0.025
T_MAX = 11_000.0  # ms
BURN_IN = 1_000.0  # ms
LONGEST = 1e7  # ms, what the noise stream of one simulation is good for

# The roulette: a simulation in which some neuron has begun no burst since the burn-in goes on with
# these probabilities at these times (ms). Of 20,480 prior draws it hits 94 % at 2.5 s (of the valid
# ones 24 %) and 92 % (10 %) at 4 s. The numbers minimise steps x mean weight of valid simulations,
# that is the work for one effective valid simulation, among one to four such times: half the steps,
# at a mean weight of 1.4. ``python benchmarks/stg.py`` prints both.
CHECKS = (2_500.0, 4_000.0)
SURVIVAL = (0.6, 0.4)


def simulate(
    theta,
    seeds,
    *,
    statistics: int = 18,
    order: str = "pyloric",
    burst_threshold: float | None = None,
    noise: bool = True,
    temperature: float = eq.REFERENCE_TEMPERATURE,
    t_max: float = T_MAX,
    abandon: bool = False,
    energy: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of n circuits, from steps of 0.025 ms after a burn-in of 1 s.

    Row i depends on ``theta[i]`` and ``seeds[i]`` alone, bit for bit. The interpreter's lock is
    released, so that threads run side by side.

    Args:
        theta: shape (n, 31): maximal conductances of Na, CaT, CaS, A, KCa, Kd, H and leak of AB/PD,
            of LP and of PY (mS/cm2), then ln of the synapses' AB-LP, PD-LP, AB-PY, PD-PY, LP-PD,
            LP-PY, PY-LP (ln mS). See ``PARAMETERS``.
        seeds: shape (n,), whole numbers below 2^64; they choose the noise.
        statistics: 18, or 15 without the plateaus.
        order: ``"pyloric"`` or ``"7_stg"``; see ``STATISTICS``.
        burst_threshold: length (ms) above which spikes count as a burst. 40 by default in the
            order ``"pyloric"``, 50 in ``"7_stg"``, as in the two published codes.
        noise: whether to add N(0, 0.001 uA) to each neuron's current in each step.
        temperature: K. Conductances and rates follow their Q10 (see ``equations``).
        t_max: length of the simulation (ms), burn-in included.
        abandon: whether to give up simulations that cannot, or probably will not, become valid.
            Averages stay unbiased if each row counts with its weight.
        energy: whether to report four statistics more: the energy (uJ/cm2) that the currents of
            each neuron, synapses included, turn into heat after the burn-in, and their sum,

                E_j = integral sum_i c_i (V - E_i)^2 dt / area.

    Returns:
        x, shape (n, 15 or 18), or (n, 19 or 22) with energies, times in ms, NaN where undefined;
        and weights, shape (n,): 1 without ``abandon``, with it 0 for rows given up by roulette and
        1 or more for survivors.

    Raises:
        ValueError: if a shape or an option does not fit.
    """
    columns = which(statistics, order)
    threshold = threshold_of(burst_threshold, order)
    theta, seeds = inputs(theta, seeds)
    plan = plan_of(t_max, threshold, noise, abandon)._replace(energetic=bool(energy))
    found = run(theta, seeds, plan, temperature)
    x = found.x[:, columns]
    if energy:
        each = found.energy * (DT / 1e3 / eq.AREA / 1e3)  # nW steps to uJ / cm2
        each[found.steps < plan.end] = np.nan
        x = np.concatenate([x, each, each.sum(axis=1, keepdims=True)], axis=1)
    return x, found.weights


def which(statistics: int, order: str) -> list[int]:
    """Where the statistics asked for stand among ``NAMES``."""
    if order not in STATISTICS:
        raise ValueError(f'Expected order "pyloric" or "7_stg"; got {order!r}.')
    if statistics not in (15, 18):
        raise ValueError(f"Expected 15 or 18 statistics; got {statistics!r}.")
    return [NAMES.index(column.name) for column in STATISTICS[order][:statistics]]


def threshold_of(burst_threshold: float | None, order: str) -> float:
    """The burst threshold (ms) given, or that of the order."""
    threshold = BURST_THRESHOLD[order] if burst_threshold is None else burst_threshold
    if not threshold > 0:
        raise ValueError(f"Expected a burst_threshold above 0 ms; got {burst_threshold}.")
    return threshold


def inputs(theta, seeds) -> tuple[np.ndarray, np.ndarray]:
    theta = np.asarray(theta, np.float64)
    if theta.ndim != 2 or theta.shape[1] != 31:
        raise ValueError(f"Expected theta of shape (n, 31); got {theta.shape}.")
    seeds = np.asarray(seeds)
    if seeds.shape != theta.shape[:1]:
        raise ValueError(f"Expected seeds of shape ({len(theta)},); got {seeds.shape}.")
    if seeds.size and (seeds.dtype.kind not in "iu" or seeds.min() < 0):
        raise ValueError(f"Expected seeds as whole numbers of 0 or more; got {seeds.dtype}.")
    return theta, seeds.astype(np.uint64)


def _samples(t: float, what: str) -> int:
    if not 0 <= t <= LONGEST:
        raise ValueError(f"Expected {what} between 0 and {LONGEST:.0e} ms; got {t}.")
    return round(t / DT)


def plan_of(t_max: float, threshold: float, noise: bool, abandon: bool) -> integrate.Plan:
    """The plan of a run: times in samples."""
    begin, end = _samples(BURN_IN, "the burn-in"), _samples(t_max, "t_max")
    if end <= begin:
        raise ValueError(f"Expected t_max above the burn-in of {BURN_IN:g} ms; got {t_max}.")
    checks = [t for t in CHECKS if t < t_max] if abandon else []
    return integrate.Plan(
        begin=begin,
        end=end,
        gap=round(GAP / DT),
        threshold=round(threshold / DT),
        dt=DT,
        noisy=bool(noise),
        proof=bool(abandon),
        checks=np.array([_samples(t, "a check") for t in checks], np.int64),
        survival=np.array(SURVIVAL[: len(checks)], np.float64),
        energetic=False,
    )


def conductances(theta: np.ndarray, temperature: float) -> np.ndarray:
    """Maximal conductances (mS), shape (n, 31) float32."""
    if not 0 < temperature < 1000:
        raise ValueError(f"Expected a temperature in K, such as 283; got {temperature}.")
    membrane = theta[:, :24] * (eq.AREA * eq.q10(eq.Q10_MEMBRANE, temperature))
    with np.errstate(over="ignore"):
        synapses = np.exp(theta[:, 24:]) * eq.q10(eq.Q10_SYNAPSE, temperature)
        return np.concatenate([membrane, synapses], axis=1).astype(np.float32)


def run(theta, seeds, plan, temperature) -> integrate.Results:
    """All statistics and counts (n, 25), weights and steps (n,), and energies (n, 3)."""
    n = len(theta)
    results = integrate.Results(
        np.full((n, SIZE), np.nan), np.ones(n), np.zeros(n, np.int64), np.zeros((n, 3))
    )
    block = kernel.block()
    machine = integrate.Machine(
        block,
        block.state.view(np.int32),
        events(plan.end - plan.begin, DT),
        table(DT, float(temperature)),
        kernel.constants(DT, temperature, plan.noisy),
    )
    integrate.run(conductances(theta, temperature), seeds, machine, plan, results)
    return results


def voltage(
    theta,
    seeds,
    *,
    t_start: float = BURN_IN,
    t_end: float = BURN_IN + 3_000.0,
    every: float = DT,
    noise: bool = True,
    temperature: float = eq.REFERENCE_TEMPERATURE,
) -> tuple[np.ndarray, np.ndarray]:
    """Voltages of n circuits: the traces from which ``simulate`` takes its statistics.

    Args:
        theta, seeds, noise, temperature: as in ``simulate``.
        t_start, t_end: first and last time (ms) to return.
        every: time (ms) between two samples, rounded to whole steps.

    Returns:
        time, shape (T,) in ms, and V, shape (n, 3, T) float32 in mV: AB/PD, LP, PY.

    Raises:
        ValueError: if a shape or an option does not fit.
    """
    theta, seeds = inputs(theta, seeds)
    first, last = _samples(t_start, "t_start"), _samples(t_end, "t_end")
    stride = _samples(every, "every")
    if last < first or stride < 1:
        raise ValueError(
            f"Expected t_start <= t_end and every >= {DT} ms; got {t_start}, {t_end} and {every}."
        )
    wanted = np.arange(first, last + 1, stride)
    V = np.empty((len(theta), 3, len(wanted)), np.float32)
    g = conductances(theta, temperature)
    for start in range(0, len(theta), WIDTH):
        rows = slice(start, start + WIDTH)
        _record(g[rows], seeds[rows], wanted, V[rows], noise, temperature)
    return wanted * DT, V


def _record(g, seeds, wanted, V, noise, temperature) -> None:
    """Fill V (n, 3, T) with the samples wanted of up to ``WIDTH`` circuits."""
    block = kernel.block()
    ints = block.state.view(np.int32)
    constants = kernel.constants(DT, temperature, noise)
    for lane in range(len(g)):
        integrate.load(block, ints, lane, g[lane], seeds[lane])
    trace = block.trace.reshape(HISTORY + STEPS, 3, WIDTH)[HISTORY:, :, : len(g)]
    pairs = np.zeros(WIDTH, np.uint32)
    for clock in range(0, wanted[-1] + 1, STEPS):
        if noise:
            pairs[:] = clock * 3 // 2
            kernel.draw_noise(block, constants, pairs)
        kernel.advance(block, table(DT, float(temperature)), constants)
        here = (wanted >= clock) & (wanted < clock + STEPS)
        if here.any():
            V[:, :, here] = trace[wanted[here] - clock].transpose(2, 1, 0)


def noise_current(seeds, steps: int) -> np.ndarray:
    """The noise (uA) that simulations of these seeds (n,) receive, shape (n, 3, steps) float32."""
    seeds = np.asarray(seeds, np.uint64)
    out = np.empty((len(seeds), 3, -(-steps // STEPS) * STEPS), np.float32)
    block, constants = kernel.block(), kernel.constants(DT, eq.REFERENCE_TEMPERATURE, True)
    pairs = np.zeros(WIDTH, np.uint32)
    for start in range(0, len(seeds), WIDTH):
        part = out[start : start + WIDTH]
        for lane in range(len(part)):
            block.key0[lane], block.key1[lane] = seed_key(seeds[start + lane])
        for clock in range(0, steps, STEPS):
            pairs[:] = clock * 3 // 2
            kernel.draw_noise(block, constants, pairs)
            drawn = block.noise.reshape(STEPS, 3, WIDTH)[:, :, : len(part)]
            part[:, :, clock : clock + STEPS] = drawn.transpose(2, 1, 0)
    return out[:, :, :steps]
