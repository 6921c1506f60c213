"""Budgets in whole micro-units of a core-hour, so that sums are exact.

    1 core-hour = 1,000,000 micro-units

A job reserves its bound when it is accepted, and pays what its process tree was measured to use,
never more than it reserved.
"""

from __future__ import annotations

MICRO = 1_000_000
_SECONDS = 3_600


def cost(cpu_seconds: float) -> int:
    """Micro-units that `cpu_seconds` of one core cost, rounded up."""
    if not cpu_seconds >= 0:
        raise ValueError(f"Expected CPU seconds of at least 0; got {cpu_seconds}.")
    return -int(-cpu_seconds * MICRO // _SECONDS)


def seconds_for(units: int) -> float:
    """CPU seconds that `units` micro-units pay for."""
    return units * _SECONDS / MICRO


def hours(units: int) -> float:
    """Core-hours in `units` micro-units."""
    return units / MICRO


def settle(reserved: int, used: int) -> tuple[int, int]:
    """What a job pays and what is given back, of what it `reserved` and `used` (micro-units)."""
    paid = min(reserved, used)
    return paid, reserved - paid
