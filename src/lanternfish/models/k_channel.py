"""A non-inactivating potassium channel under five voltage clamps.

    dm/dt = q (m_inf(V) - m) / tau(V),      I = q g m (V - E_K),
    m_inf = 1 / (1 + e^(theta_2 - theta_1 V)),
    tau   = theta_4 / (e^(-(theta_5 u + theta_6 u^2)) + e^(theta_7 u + theta_8 u^2)),
    u     = V - theta_3,

with q = 2.3^((37 - 23) / 10) for 37 C. The command voltage of each protocol has noise of 0.5 mV a
sample; m starts in equilibrium, and steps are exponential Euler on the protocol's grid. The current
is divided by its largest value over the protocol.

The statistics are the coefficients of each protocol's response on principal components and a
constant, by least squares: 5 x (10 + 1). The components are learned from draws of the prior, once
for each set of options, with a seed of their own (Gonçalves et al. take them from 350 published
channels, which needs NEURON; these are not the paper's numbers).

Reference: Gonçalves et al. (2020), eLife 9:e56261, "Ion channel models"; protocols of ICGenealogy
(Podlaski et al. 2017, eLife 6:e22152).
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
from numba import njit

from lanternfish.core import BatchSimulator, Column, Model, Prior, Traces, Uniform
from lanternfish.models.kernels import EXACT, FLAGS, fast_exp, normal, seed_key

E_K = -86.7  # mV
G_MAX = 1.0
Q = 2.3 ** ((37.0 - 23.0) / 10.0)
NOISE = 0.5  # mV, of each sample of the command
HOLD = -80.0  # mV
DT = 0.025  # ms
COMPONENTS = 10
DRAWS = 500  # of the prior, from which components are learned
F = np.float32

PROTOCOLS = ("activation", "inactivation", "deactivation", "ramp", "action_potentials")

prior = Prior(
    theta_1=Uniform(0, 1, unit="1/mV", label=r"$\theta_1$"),
    theta_2=Uniform(-10, 10, label=r"$\theta_2$"),
    theta_3=Uniform(-120, 120, unit="mV", label=r"$\theta_3$"),
    theta_4=Uniform(0, 2_000, unit="ms", label=r"$\theta_4$"),
    theta_5=Uniform(0, 0.5, unit="1/mV", label=r"$\theta_5$"),
    theta_6=Uniform(0, 0.05, unit="1/mV2", label=r"$\theta_6$"),
    theta_7=Uniform(0, 0.5, unit="1/mV", label=r"$\theta_7$"),
    theta_8=Uniform(0, 0.05, unit="1/mV2", label=r"$\theta_8$"),
)


def steps(values, before: float, during: float, after: float, second=None, dt: float = DT):
    """Command voltages (sweeps, t): hold, a step to each value, perhaps a second, and hold."""
    parts = [(before, HOLD), (during, None), *([second] if second else []), (after, HOLD)]
    counts = [round(length / dt) for length, _ in parts]
    return np.stack(
        [
            np.concatenate(
                [
                    np.full(n, value if level is None else level)
                    for n, (_, level) in zip(counts, parts, strict=True)
                ]
            )
            for value in values
        ]
    )


def spike_train(dt: float = DT) -> np.ndarray:
    """A command of 1,800 ms with 27 action potentials between -68.1 and 33.7 mV.

    The published waveform is a recording; this one has its length, number of spikes and range: a
    fast rise, a fall of 1 ms and an after-hyperpolarisation that decays within 10 ms.
    """
    time = np.arange(round(1_800 / dt)) * dt
    V = np.full(len(time), -60.0)
    for k in range(27):
        since = time - (100 + 60 * k)
        here = since >= 0
        V[here] += 95.7 * np.exp(-since[here] / 0.8) - 9.0 * np.exp(-since[here] / 8.0)
    low, high = V.min(), V.max()
    return (-68.1 + (V - low) * (33.7 + 68.1) / (high - low))[None]


def ramps(dt: float = DT) -> np.ndarray:
    """Four triangles from -80 to 70 mV and back within 800, 400, 200 and 100 ms."""
    time = np.arange(round(2_900 / dt)) * dt
    V = np.full(len(time), HOLD)
    for start, width in ((100, 800), (1_300, 400), (2_100, 200), (2_700, 100)):
        share = np.clip((time - start) / width, 0, 1)
        V = np.maximum(V, HOLD + 150 * (1 - np.abs(2 * share - 1)))
    return V[None]


def protocols(dt: float = DT) -> dict[str, np.ndarray]:
    """The command voltage (mV) of each protocol, (sweeps, t), dt (ms) apart."""
    return {
        "activation": steps(range(-80, 71, 10), 100, 500, 100, dt=dt),
        "inactivation": steps(range(-40, 71, 10), 100, 1_500, 100, (50, 30.0), dt=dt),
        "deactivation": deactivation(dt),
        "ramp": ramps(dt),
        "action_potentials": spike_train(dt),
    }


def deactivation(dt: float = DT) -> np.ndarray:
    """100 ms of hold, 300 ms at 70 mV, 200 ms at each of -100 to 40 mV, 100 ms of hold."""
    counts = [round(length / dt) for length in (100, 300, 200, 100)]
    return np.stack(
        [
            np.concatenate(
                [np.full(n, v) for n, v in zip(counts, (HOLD, 70, value, HOLD), strict=True)]
            )
            for value in range(-100, 41, 10)
        ]
    )


@njit(**FLAGS)
def gates(theta, command, first, key0, key1, noise, dt, V, m_inf, keep):
    """Noisy voltage, m_inf and e^(-q dt / tau) of a sweep; no sample depends on another."""
    t1, t2, t3, t4 = F(theta[0]), F(theta[1]), F(theta[2]), F(theta[3])
    t5, t6, t7, t8 = F(theta[4]), F(theta[5]), F(theta[6]), F(theta[7])
    speed = F(Q * dt) / max(t4, F(1e-30))
    for t in range(len(command)):
        v = command[t] + noise * normal(np.uint32(first + t), key0, key1)
        u = v - t3
        rates = fast_exp(-(t5 * u + t6 * u * u)) + fast_exp(t7 * u + t8 * u * u)
        V[t] = v
        m_inf[t] = F(1) / (F(1) + fast_exp(t2 - t1 * v))
        keep[t] = fast_exp(-min(speed * rates, F(80)))


@njit(**EXACT)
def response(theta, seed, commands, noise, dt, every, out):
    """Currents of one channel under all protocols, one after the other, into out (numbers,)."""
    key0, key1 = seed_key(seed)
    longest = 0
    for command in commands:
        longest = max(longest, command.shape[1])
    V = np.empty(longest, np.float32)
    m_inf, keep = np.empty_like(V), np.empty_like(V)
    counter, at = 0, 0
    for command in commands:
        samples, begin, largest = command.shape[1], at, F(0)
        for sweep in range(len(command)):
            gates(theta, command[sweep], counter, key0, key1, noise, dt, V, m_inf, keep)
            counter += samples
            m = m_inf[0]
            for t in range(samples):
                value = F(Q * G_MAX) * m * (V[t] - F(E_K))
                largest = max(largest, abs(value))
                if t % every == 0:
                    out[at] = value
                    at += 1
                m = m_inf[t] + (m - m_inf[t]) * keep[t]
        if largest > 0:
            for i in range(begin, at):
                out[i] /= largest


def responses(theta, seeds, *, noise: float, dt: float, every: int) -> np.ndarray:
    """Currents of n channels under all protocols, (n, numbers) float32, every so many samples.

    Divided by the largest of each protocol. Numbers are the sweeps of the protocols in order.
    """
    theta = np.asarray(theta, np.float64)
    if theta.ndim != 2 or theta.shape[1] != 8:
        raise ValueError(f"Expected theta of shape (n, 8); got {theta.shape}.")
    commands = tuple(np.ascontiguousarray(c, np.float32) for c in protocols(dt).values())
    size = sum(c.shape[0] * -(-c.shape[1] // every) for c in commands)
    out = np.empty((len(theta), size), np.float32)
    for row, seed, found in zip(theta, seeds, out, strict=True):
        response(row, np.uint64(seed), commands, F(noise), float(dt), int(every), found)
    return out


def spans(dt: float, every: int) -> list[slice]:
    """Which numbers of a response belong to each protocol."""
    sizes = [c.shape[0] * -(-c.shape[1] // every) for c in protocols(dt).values()]
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


@lru_cache(maxsize=4)
def basis(dt: float, every: int, noise: float, components: int, draws: int) -> tuple:
    """For each protocol the matrix (components + 1, numbers) whose product gives coefficients.

    Responses of prior draws are standardised number by number; principal components c, of unit
    length, and a constant span the fit, whose least-squares solution is the pseudo-inverse.
    """
    theta = prior.sample(draws, seed=2_020).array
    seeds = np.arange(draws, dtype=np.uint64)
    learned = responses(theta, seeds, noise=noise, dt=dt, every=every)
    learned = learned[np.isfinite(learned).all(axis=1)]
    found = []
    for span in spans(dt, every):
        part = learned[:, span]
        spread = part.std(axis=0)
        spread = np.where(spread > 1e-12, spread, 1.0)
        standard = (part - part.mean(axis=0)) / spread
        gram = standard @ standard.T  # of channels: there are fewer of them than samples
        values, vectors = np.linalg.eigh(gram)
        top = vectors[:, np.argsort(-values)[:components]]
        directions = standard.T @ top
        directions /= np.maximum(np.linalg.norm(directions, axis=0), 1e-300)
        turn = np.sign(directions[np.argmax(np.abs(directions), axis=0), np.arange(components)])
        design = np.column_stack([directions * turn, np.ones(len(directions))])
        found.append(np.linalg.pinv(design))
    return tuple(found)


def simulate(
    theta, seeds, *, dt: float = DT, every: int = 20, noise: float = NOISE,
    components: int = COMPONENTS, draws: int = DRAWS,
) -> np.ndarray:  # fmt: skip
    """Coefficients of n channels, (n, 5 (components + 1)); row i is of theta[i] and seeds[i]."""
    solved = basis(dt, every, noise, components, draws)
    found = responses(theta, seeds, noise=noise, dt=dt, every=every)
    pieces = list(zip(spans(dt, every), solved, strict=True))
    rows = found.astype(np.float64)  # one after the other, so that none feels how many there are
    return np.array([np.concatenate([m @ row[span] for span, m in pieces]) for row in rows])


def k_channel(
    dt: float = DT, every: int = 20, noise: float = NOISE, components: int = COMPONENTS,
    draws: int = DRAWS,
) -> Model:  # fmt: skip
    """The channel as a model of eight parameters, and 55 statistics.

    Args:
        dt: step of the protocols (ms).
        every: of how many samples one is kept for the principal components.
        noise: of the command voltage (mV).
        components: principal components of each protocol.
        draws: of the prior, from which they are learned when the model is first simulated.

    Raises:
        ValueError: if an option does not fit.
    """
    if not 0 < dt <= 1 or every < 1 or not noise >= 0 or components < 1 or draws <= components:
        raise ValueError(
            "Expected dt up to 1 ms, every and components of at least 1,  noise of 0 mV or more "
            f"and more draws than components; got {dt}, {every}, {components}, {noise} and {draws}."
        )
    chosen = {"dt": float(dt), "every": int(every), "noise": float(noise)}
    columns = [
        Column(f"{name}_{k + 1}" if k < components else f"{name}_constant")
        for name in PROTOCOLS
        for k in range(components + 1)
    ]
    run = partial(simulate, **chosen, components=int(components), draws=int(draws))
    return Model(
        prior=prior,
        simulator=BatchSimulator(run, columns, block=64),
        name="k_channel",
        traces=partial(_traces, **chosen),
        about="A non-inactivating potassium channel under five voltage clamps, described by "
        "principal components of its currents (Gonçalves et al. 2020, eLife 9:e56261).",
    )


def _traces(theta, seeds, *, dt: float, every: int, noise: float) -> Traces:
    """Currents of all sweeps of the activation protocol."""
    found = responses(theta, seeds, noise=noise, dt=dt, every=every)
    command = protocols(dt)["activation"]
    span = spans(dt, every)[0]
    values = found[:, span].reshape(len(found), len(command), -1)
    time = np.arange(values.shape[2]) * dt * every
    names = tuple(f"{v:.0f} mV" for v in range(-80, 71, 10))
    return Traces(time, values, names, unit="largest current")
