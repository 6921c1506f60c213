"""What a move of the ledger leaves behind, written last in its transaction: events and money.

A group's row and its turn at events are what all its jobs share, so they are taken last, and held
for as short as can be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from lanternfish.service.store import statements as sql
from lanternfish.service.store import tables as t
from lanternfish.service.store.database import send
from lanternfish.service.store.events import take_turn

TOGETHER = 2  # rows of one statement: most moves pay twice, and leave two events


@dataclass
class Journal:
    """Events and payments of one transaction, at one time."""

    tx: Connection
    now: float
    events: list[tuple[str, dict]] = field(default_factory=list)
    charges: list[dict] = field(default_factory=list)
    payments: dict[str, tuple[int, int]] = field(default_factory=dict)
    attempts: list[tuple[sa.UpdateBase, dict]] = field(default_factory=list)

    def state(self, group: str, job: str, data: dict) -> None:
        """Note that a job's state is another now."""
        row = {"job_id": job, "kind": "state", "data": data, "time": self.now}
        self.events.append((group, row))

    def pay(self, job: sa.Row, paid: int, back: int) -> None:
        """Note what an ended job pays of what it reserved, and what is given back."""
        if not job.reserved:
            return
        held, before = self.payments.get(job.group_id, (0, 0))
        self.payments[job.group_id] = (held + job.reserved, before + paid)
        about = {"group_id": job.group_id, "job_id": job.id, "time": self.now}
        self.charges += [
            {**about, "kind": "pay", "amount": paid},
            {**about, "kind": "release", "amount": back},
        ]

    def attempt(self, statement: sa.UpdateBase, values: dict) -> None:
        """Note what changes of an attempt, which nothing else of the transaction reads."""
        self.attempts.append((statement, values))

    def write(self) -> None:
        """Write all of it. Nothing else of the transaction comes after."""
        for statement, values in self.attempts:
            send(self.tx, statement, values)
        _insert(self.tx, t.charges, self.charges)
        for group, (held, paid) in sorted(self.payments.items()):
            send(self.tx, sql.PAY, {"group_": group, "held": held, "paid": paid})
        for group in sorted({group for group, _ in self.events}):
            take_turn(self.tx, group)
            rows = [{"group_id": each, **row} for each, row in self.events if each == group]
            _insert(self.tx, t.events, rows)


def _insert(tx: Connection, table: sa.Table, rows: list[dict]) -> None:
    """Insert rows of the same names: in few statements where each of them is a message."""
    at_once = 1 if tx.dialect.name == "sqlite" else TOGETHER
    for at in range(0, len(rows), at_once):
        some = rows[at : at + at_once]
        statement = sql.rows(table, tuple(some[0]), len(some))
        send(tx, statement, {f"{k}_{n}": v for n, row in enumerate(some) for k, v in row.items()})
