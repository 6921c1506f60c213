"""Ascent of many points at once, each to the maximum of its own basin.

Limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.4), all points in lockstep. Points at a
bound whose gradient leads outward are held there; the others move along the projected path

    y(t) = clip(y + t p, low, high),    t = 1/16, 1/8, 1/4, 1/2, 1,

as far as the density rises from each t to the next. A step may therefore not cross a valley that is
wider than its own pieces: a point stays in the basin of attraction in which it began, which a line
search that looks at the end of the step alone does not warrant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lanternfish.landscape.space import Space

STEPS = 300  # most steps of an ascent
FLAT = 1e-3  # nats per unit of y: below this slope a point has arrived
_PIECES = np.array([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0])
_LONGEST = 1.0  # of a step, in units of y
_MEMORY = 8  # pairs of steps and changes of slope
_NOISE = 1e-6  # relative error of a density in float32
_STALLS = 3  # steps without gain, one after the other, after which a point has arrived


@dataclass(frozen=True)
class Ends:
    """Where ascents ended.

    Attributes:
        y: shape (n, d).
        density: log density there, shape (n,).
        slope: gradient, shape (n, d).
        converged: whether the slope vanishes or nothing is gained any more, shape (n,).
    """

    y: np.ndarray
    density: np.ndarray
    slope: np.ndarray
    converged: np.ndarray


def ascend(
    space: Space,
    starts: np.ndarray,
    *,
    free: np.ndarray | None = None,
    across: np.ndarray | None = None,
    steps: int = STEPS,
) -> Ends:
    """Climb from each start.

    Args:
        space: whose density is climbed.
        starts: in units of the spread, shape (n, d), of finite density.
        free: which coordinates move, shape (d,) of bool; all where left out.
        across: unit vectors (n, d) along which each point stays where it is, but for the bounds.
        steps: most of them.
    """
    climb = _Climb(space, starts, np.ones(starts.shape[1], bool) if free is None else free, across)
    for _ in range(steps):
        rows = climb.going()
        if not len(rows):
            break
        climb.step(rows)
    return Ends(climb.y, climb.density, climb.slope, climb.arrived)


class _Climb:
    """The state of n ascents."""

    def __init__(
        self, space: Space, starts: np.ndarray, free: np.ndarray, across: np.ndarray | None
    ) -> None:
        self.space, self.free, self.across = space, free, across
        self.low = np.where(free, space.low, -np.inf)
        self.high = np.where(free, space.high, np.inf)
        self.y = np.clip(starts, self.low, self.high)
        self.density = space.density(self.y)
        self.slope = self._gradient(self.y, np.arange(len(self.y)))
        n, d = self.y.shape
        self.moves = np.zeros((n, _MEMORY, d))  # steps, and the loss of slope over each
        self.turns = np.zeros((n, _MEMORY, d))
        self.reach = np.ones(n)
        self.stalls = np.zeros(n, int)
        self.arrived = ~np.isfinite(self.density)

    def going(self) -> np.ndarray:
        """Rows that have not arrived."""
        steepest = np.abs(np.where(self._loose(), self.slope, 0.0)).max(axis=1)
        self.arrived |= (steepest < FLAT) | (self.stalls >= _STALLS)
        return np.flatnonzero(~self.arrived)

    def _gradient(self, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
        slope = self.space.gradient(y)
        if self.across is None:
            return slope
        along = self.across[rows]
        return slope - np.sum(slope * along, axis=1, keepdims=True) * along

    def _loose(self) -> np.ndarray:
        """Coordinates that can move: free, and not pressed against a bound."""
        pressed = (self.y <= self.low) & (self.slope < 0) | (self.y >= self.high) & (self.slope > 0)
        return self.free & ~pressed

    def step(self, rows: np.ndarray) -> None:
        y, before, slope = self.y[rows], self.density[rows], self.slope[rows]
        path = self._path(rows)
        values = self.space.density(path.reshape(-1, y.shape[1])).reshape(len(rows), -1)
        noise = _NOISE * (1 + np.abs(before))[:, None]
        past = np.column_stack([before, values[:, :-1]])
        with np.errstate(invalid="ignore"):
            rising = np.cumprod(values - past >= -noise, axis=1).sum(axis=1)
        moved = rising > 0
        best = np.maximum(rising - 1, 0)
        here = np.arange(len(rows))
        after = np.where(moved[:, None], path[here, best], y)
        reached = np.where(moved, values[here, best], before)
        gained = reached - before > noise[:, 0]
        self.y[rows], self.density[rows] = after, np.maximum(reached, before)
        self.slope[rows] = self._gradient(after, rows)
        self.stalls[rows] = np.where(gained, 0, self.stalls[rows] + 1)
        self.reach[rows] = np.where(moved, 1.0, self.reach[rows] / 32)
        self._forget(rows[~moved])
        self._remember(rows, after - y, slope - self.slope[rows])

    def _path(self, rows: np.ndarray) -> np.ndarray:
        """Points along the step of each row, shape (m, pieces, d)."""
        loose = self._loose()[rows]
        slope = np.where(loose, self.slope[rows], 0.0)
        held = loose[:, None, :]
        step = np.where(loose, newton(slope, self.moves[rows] * held, self.turns[rows] * held), 0.0)
        uphill = np.sum(step * slope, axis=1, keepdims=True) > 0
        step = np.where(uphill, step, slope)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        step *= np.minimum(1, _LONGEST / np.maximum(length, 1e-300)) * self.reach[rows, None]
        path = self.y[rows, None] + _PIECES[:, None] * step[:, None]
        return np.clip(path, self.low, self.high)

    def _forget(self, rows: np.ndarray) -> None:
        self.moves[rows] = self.turns[rows] = 0.0

    def _remember(self, rows: np.ndarray, move: np.ndarray, turn: np.ndarray) -> None:
        """Pairs along which the density is concave."""
        product = np.sum(move * turn, axis=1)
        good = product > 1e-6 * np.linalg.norm(move, axis=1) * np.linalg.norm(turn, axis=1)
        rows = rows[good]
        for memory, new in ((self.moves, move), (self.turns, turn)):
            memory[rows, :-1] = memory[rows, 1:]
            memory[rows, -1] = new[good]


def newton(slope: np.ndarray, moves: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """The quasi-Newton step of each row, by the two-loop recursion; the slope, of length 1, first.

    Args:
        slope: shape (m, d).
        moves, turns: steps and the loss of slope over each, the latest last, shape (m, memory, d);
            zeros where there is none.
    """
    products = np.sum(moves * turns, axis=2)
    inverse = np.where(products > 0, 1 / np.where(products > 0, products, 1.0), 0.0)
    step = slope.copy()
    shares = np.zeros(products.shape)
    for i in reversed(range(products.shape[1])):
        shares[:, i] = inverse[:, i] * np.sum(moves[:, i] * step, axis=1)
        step -= shares[:, i, None] * turns[:, i]
    square = np.sum(turns[:, -1] ** 2, axis=1)
    length = np.maximum(np.linalg.norm(slope, axis=1), 1e-300)
    known = (products[:, -1] > 0) & (square > 0)
    first = np.where(known, products[:, -1] / np.where(square > 0, square, 1.0), 1 / length)
    step *= first[:, None]
    for i in range(products.shape[1]):
        back = inverse[:, i] * np.sum(turns[:, i] * step, axis=1)
        step += (shares[:, i] - back)[:, None] * moves[:, i]
    return step
