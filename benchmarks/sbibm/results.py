"""Cells of the benchmark, their results on disk, and the table of them.

A results folder holds ``results.jsonl``, to which lines are added and none changed, and
``samples/``. A line is either what a cell took, or the C2ST of one of its observations; a cell that
has its line is not run again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import stored


@dataclass(frozen=True)
class Cell:
    """One process: who runs which task, with what, for which observations.

    Attributes:
        who: ``ours`` or ``sbi``.
        observations: several for one round, which is amortised; otherwise one.
        method: an expression such as ``NPE`` for ours, a density for sbi.
        warm: whether compiled programs were there already.
    """

    who: str
    task: str
    observations: tuple[int, ...]
    budget: int
    rounds: int
    method: str
    seed: int
    warm: bool = False

    @property
    def key(self) -> str:
        """A name for files, which differs for every other cell."""
        shown = "".join(c if c.isalnum() else "-" for c in self.method)
        numbers = "".join(map(str, self.observations))
        parts = [self.who, self.task, f"o{numbers}", f"n{self.budget}", f"r{self.rounds}", shown]
        return "_".join([*parts, f"s{self.seed}", *(["warm"] if self.warm else [])])


class Results:
    """A results folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        self.file = folder / "results.jsonl"
        self.costs: dict[str, dict] = {}
        self.c2st: dict[str, dict[int, float]] = defaultdict(dict)
        if self.file.exists():
            for line in self.file.read_text().splitlines():
                self._take(json.loads(line))

    def samples(self, cell: Cell) -> Path:
        return self.folder / "samples" / f"{cell.key}.npz"

    def add_cost(self, cell: Cell, cost: dict) -> None:
        self._add({"key": cell.key, "cell": asdict(cell), "cost": cost})

    def add_c2st(self, cell: Cell, observation: int, c2st: float, cpu_s: float) -> None:
        line = {"key": cell.key, "observation": observation, "c2st": c2st, "cpu_s": cpu_s}
        self._add(line)

    def _add(self, line: dict) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._take(line)

    def _take(self, line: dict) -> None:
        if "cost" in line:
            self.costs[line["key"]] = line["cost"]
        else:
            self.c2st[line["key"]][line["observation"]] = line["c2st"]


@dataclass(frozen=True)
class Summary:
    """Several cells that differ in observation and seed alone."""

    c2st: float
    spread: float
    cpu_s: float
    outside: float


def summary(results: Results, cells: list[Cell]) -> Summary | None:
    """Means over observations and seeds; the spread is that of the seeds' means (max - min).

    C2ST and spread are NaN where it was not computed; none where no cell has run.
    """
    costs = [results.costs[c.key] for c in cells if c.key in results.costs]
    if not costs:
        return None
    by_seed: dict[int, list[float]] = defaultdict(list)
    for cell in cells:
        if cell.key in results.costs and results.c2st.get(cell.key):
            by_seed[cell.seed] += results.c2st[cell.key].values()
    means = [float(np.mean(values)) for values in by_seed.values()]
    outside = [share for c in costs for share in c["outside"].values()]
    return Summary(
        c2st=float(np.mean(means)) if means else np.nan,
        spread=max(means) - min(means) if means else np.nan,
        cpu_s=float(np.mean([c["cpu_s"] for c in costs])),
        outside=float(np.mean(outside)),
    )


HEAD = (
    "| task | simulations | rounds | ours | C2ST | seeds' spread | outside | CPU s | peer | C2ST "
    "| seeds' spread | outside | CPU s | published C2ST | CPU, peer / ours |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def table(results: Results, cells: list[Cell]) -> str:
    """A line for each task, budget, number of rounds, method of ours and of a peer."""
    rows: dict[tuple, dict[str, dict[str, list[Cell]]]] = {}
    for cell in cells:
        row = rows.setdefault((cell.task, cell.budget, cell.rounds), {})
        row.setdefault(cell.who, {}).setdefault(cell.method, []).append(cell)
    lines = [HEAD]
    for (task, budget, rounds), row in rows.items():
        known = stored.published(task, budget, rounds)
        for method, mine in (row.get("ours") or {"": []}).items():
            for peer, theirs in (row.get("sbi") or {"": []}).items():
                pair = summary(results, mine), summary(results, theirs)
                shown = [_shown(method, pair[0]), _shown(peer, pair[1])]
                ratio = f"{pair[1].cpu_s / pair[0].cpu_s:.1f}" if pair[0] and pair[1] else ""
                ends = " | ".join([*shown, f"{known:.3f}", ratio])
                lines.append(f"| {task} | {budget:,} | {rounds} | {ends} |")
    return "\n".join(lines)


def _shown(method: str, found: Summary | None) -> str:
    if found is None:
        return f"{method} | | | |"
    judged = f"{found.c2st:.3f} | {found.spread:.3f}" if np.isfinite(found.c2st) else " | "
    numbers = f"{judged} | {found.outside:.1%} | {found.cpu_s:.1f}"
    return f"{method} | {numbers}"
