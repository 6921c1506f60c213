"""Whole-cell current-clamp recordings, read from NWB 2 files with PyNWB.

A ``Recording`` is one sweep: membrane potential (mV) and injected current (uA) at common sample
times (ms). To drive a single-compartment model, the current is divided by the membrane's area, and
the potential is corrected for the liquid junction between pipette and bath,

    I (uA/cm2) = I (uA) / A,    A = tau_m / (R_in C_m) with C_m = 1 uF/cm2,
    V = V_recorded + V_junction.

Neither area nor junction potential is in most files. For the ten sweeps of the Allen Cell Types
Database that Goncalves et al. (2020), eLife 9:e56261, fitted, both are known here (``PEAK_DENSITY``
and ``ALLEN_JUNCTION``); for others give them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lanternfish.core import Observation
from lanternfish.models.current_clamp import STATISTICS, Stimulus, check_set, measure

ALLEN_JUNCTION = -14.0  # mV, as added in the published code

# Amplitude of the current step over the membrane's area, uA/cm2, by cell/sweep; the published code
# computes it from tau_m and R_in. The first is 1.7e-4 uA over 23.4 ms / (126 MOhm 1 uF/cm2).
PEAK_DENSITY = {
    "518290966/57": 1.7e-4 / (0.0234 / 126),
    "509881736/39": 1.563,
    "566517779/46": 1.523,
    "567399060/38": 1.057,
    "569469018/44": 1.099,
    "532571720/42": 2.284,
    "555060623/34": 0.980,
    "534524026/29": 0.851,
    "532355382/33": 1.965,
    "526950199/37": 1.289,
}


@dataclass(frozen=True, eq=False)
class Recording:
    """One current-clamp sweep.

    Args:
        voltage: membrane potential, shape (samples,), mV, corrected for ``junction_potential``.
        current: injected current, shape (samples,), uA.
        dt: ms between samples.
        t_on, t_off: ms; times of the first and of the last sample at which the stimulus flows.
        area: membrane area in cm2; ``None`` where unknown.
        junction_potential: mV, what was added to the voltage on file.
        cell, sweep: what the file calls them.
        name: for titles and reports.
    """

    voltage: np.ndarray = field(repr=False)
    current: np.ndarray = field(repr=False)
    dt: float
    t_on: float
    t_off: float
    area: float | None = None
    junction_potential: float = 0.0
    cell: str = ""
    sweep: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        shapes = np.shape(self.voltage), np.shape(self.current)
        if shapes[0] != shapes[1] or len(shapes[0]) != 1:
            raise ValueError(
                "Expected voltage and current of one shape (samples,); "
                f"got {shapes[0]} and {shapes[1]}."
            )
        if not np.all(np.isfinite(self.voltage)):
            raise ValueError(
                f"Expected a finite voltage; got {np.sum(~np.isfinite(self.voltage))} samples that "
                "are not: cut them off."
            )
        if self.area is not None and not 0 < self.area < 1:
            raise ValueError(
                f"Expected a membrane area in cm2, about 1e-5 to 1e-3; got {self.area}."
            )

    @property
    def time(self) -> np.ndarray:
        """Times of the samples, shape (samples,), ms."""
        return np.arange(len(self.voltage)) * self.dt

    def stimulus(self) -> Stimulus:
        """The current density that drives a model of this cell, from the first recorded voltage.

        Raises:
            ValueError: if the membrane area is not known.
        """
        if self.area is None:
            raise ValueError(
                f"Expected a membrane area for {self.name or 'the recording'}; got none: give "
                "area= in cm2, for example tau_m / (R_in x 1 uF/cm2)."
            )
        return self._windows(np.asarray(self.current, np.float64) / self.area)

    def _windows(self, density: np.ndarray) -> Stimulus:
        return Stimulus(density, self.dt, float(self.voltage[0]), self.t_on, self.t_off)


def observe(recording: Recording, statistics: int = 7) -> Observation:
    """The statistics of ``current_clamp`` of a recording.

    Args:
        recording: one sweep.
        statistics: 7, 4 or 1; the first so many of ``current_clamp.STATISTICS``.
    """
    check_set(statistics)
    windows = recording._windows(np.zeros(len(recording.voltage)))
    values = measure(recording.voltage, windows, statistics)[0]
    return Observation.from_array(values, STATISTICS[:statistics], recording.name)


def read_nwb(
    path: str | os.PathLike,
    *,
    sweep: int | None = None,
    area: float | None = None,
    junction_potential: float | None = None,
    window: tuple[float, float] | None = None,
) -> Recording:
    """One current-clamp sweep of an NWB 2 file.

    Args:
        path: the file.
        sweep: its number; needed where the file holds several.
        area: membrane area, cm2; where left out, that of ``PEAK_DENSITY`` or unknown.
        junction_potential: mV, added to the voltage; where left out, -14 for the cells of
            ``PEAK_DENSITY`` and 0 for others.
        window: t_on and t_off in ms; where left out, the longest stretch over which the current is
            away from its first value by more than half of the most.

    Raises:
        ImportError: if PyNWB is not installed.
        FileNotFoundError: if there is no such file.
        ValueError: if it is not NWB, has no current clamp, has several sweeps of which none is
            chosen, or the sweep is not evenly sampled.
    """
    response, command, cell, number = _read_sweep(os.fspath(path), sweep)
    voltage, dt = response
    current, command_dt = command
    if len(voltage) != len(current) or not np.isclose(dt, command_dt, rtol=1e-6):
        raise ValueError(
            f"Expected response and stimulus of sweep {number} with common samples; got "
            f"{len(voltage)} at {dt:.6g} ms and {len(current)} at {command_dt:.6g} ms."
        )
    name = f"{cell}/{number}" if cell else f"{os.path.basename(path)}/{number}"
    peak = np.max(np.abs(current - current[0])) if len(current) else 0.0
    if name in PEAK_DENSITY:
        area = float(peak) / PEAK_DENSITY[name] if area is None else area
        junction_potential = ALLEN_JUNCTION if junction_potential is None else junction_potential
    t_on, t_off = _window(current, dt, name) if window is None else window
    shift = junction_potential or 0.0
    return Recording(voltage + shift, current, dt, t_on, t_off, area, shift, cell, number, name)


def _read_sweep(path: str, sweep: int | None):
    """((voltage mV, dt), (current uA, dt), cell, sweep number)."""
    try:
        from pynwb import NWBHDF5IO
        from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries, IZeroClampSeries
    except ImportError:
        raise ImportError(
            "Expected PyNWB to read NWB files; got none: pip install 'lanternfish[nwb]'."
        ) from None
    if not os.path.exists(path):
        raise FileNotFoundError(f"Expected an NWB file at {path}; got none.")
    try:
        file: Any = NWBHDF5IO(path=path, mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Expected an NWB 2 file at {path}; got another ({error}).") from None
    with file:
        content = file.read()
        responses = [
            series
            for series in content.acquisition.values()
            if isinstance(series, CurrentClampSeries) and not isinstance(series, IZeroClampSeries)
        ]
        commands = [
            s for s in content.stimulus.values() if isinstance(s, CurrentClampStimulusSeries)
        ]
        pairs = _pairs(content, responses, commands)
        number = _choose(path, pairs, sweep)
        response, command = pairs[number]
        cell = getattr(response.electrode, "cell_id", None) or ""
        return _samples(response, 1e3), _samples(command, 1e6), str(cell), number


def _pairs(content, responses, commands) -> dict:
    """Response and stimulus by sweep number, by row of the table of recordings, or the only two."""
    by_number = {c.sweep_number: c for c in commands if c.sweep_number is not None}
    numbered = {
        int(r.sweep_number): (r, by_number[r.sweep_number])
        for r in responses
        if r.sweep_number is not None and r.sweep_number in by_number
    }
    table = content.intracellular_recordings
    if numbered or table is None:
        only = len(responses) == len(commands) == 1
        return numbered or ({0: (responses[0], commands[0])} if only else {})
    columns = table["responses"]["response"], table["stimuli"]["stimulus"]
    rows = [tuple(column[i].timeseries for column in columns) for i in range(len(table))]
    return {i: row for i, row in enumerate(rows) if row[0] in responses and row[1] in commands}


def _choose(path: str, pairs: dict, sweep: int | None) -> int:
    if not pairs:
        raise ValueError(
            f"Expected a current-clamp response with its stimulus in {path}; got none: the file "
            "needs a CurrentClampSeries and a CurrentClampStimulusSeries of one sweep number."
        )
    numbers = sorted(pairs)
    listed = ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")
    if sweep is None and len(numbers) > 1:
        raise ValueError(f"Expected sweep= to choose one of {listed} in {path}; got none.")
    if sweep is not None and sweep not in pairs:
        raise ValueError(f"Expected sweep to be one of {listed} in {path}; got {sweep}.")
    return int(numbers[0] if sweep is None else sweep)


def _samples(series, factor: float) -> tuple[np.ndarray, float]:
    """Values times the factor, from the file's SI unit, and the time between samples (ms)."""
    values = np.asarray(series.data[:], np.float64) * series.conversion + series.offset
    if series.rate is not None:
        return values * factor, 1e3 / float(series.rate)
    steps = np.diff(np.asarray(series.timestamps[:], np.float64))
    if len(steps) == 0 or np.ptp(steps) > 0.01 * np.mean(steps):
        raise ValueError(
            f"Expected an even sampling rate of {series.name}; got time stamps that are not even: "
            "interpolate it."
        )
    return values * factor, 1e3 * float(np.mean(steps))


def _window(current: np.ndarray, dt: float, name: str) -> tuple[float, float]:
    """Times (ms) of the first and the last sample of the longest stretch of stimulus."""
    away = np.abs(current - current[0]) if len(current) else np.zeros(0)
    if not np.any(away > 0):
        raise ValueError(
            f"Expected a current in {name} that leaves its first value; got a constant one: choose "
            "another sweep, or give window=(t_on, t_off) in ms."
        )
    flows = np.concatenate([[0], (away > 0.5 * away.max()).astype(int), [0]])
    starts, stops = np.flatnonzero(np.diff(flows) == 1), np.flatnonzero(np.diff(flows) == -1)
    longest = np.argmax(stops - starts)
    return float(starts[longest] * dt), float((stops[longest] - 1) * dt)
