"""A model of the ledger that fits on a page, against which the real one is tried.

Rules are drawn at random: submit, claim, heartbeat, finish, retry, cancel, time that passes, late
calls of attempts that were lost. After each, the database must hold what the model holds.
"""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from lanternfish.service import store
from lanternfish.service.jobs import ENDED, cost
from lanternfish.service.store import Outcome, Submission

LEASE, BUDGET, ATTEMPTS = 10.0, 100_000, 2


@dataclasses.dataclass
class Known:
    """What the model knows of a job."""

    state: str = "queued"
    token: int = 0
    until: float = 0.0
    reserve: int = 0
    spent: int = 0
    accepted: int = 0
    not_before: float = 0.0


class Ledger(RuleBasedStateMachine):
    """Subclasses set `opened`: a store with a clock that reads `time`."""

    time: list[float]
    opened: store.Store
    count = 0

    attempts = Bundle("attempts")

    @initialize()
    def begin(self):
        type(self).count += 1
        self.user = store.create_user(self.opened, f"user {self.count}").id
        self.group = store.create_group(self.opened, f"group {self.count}", budget=BUDGET).id
        self.jobs: dict[str, Known] = {}
        self.paid = 0
        for job in self.others():
            store.cancel(self.opened, job, "the test")

    def others(self):
        """Jobs of examples before that may still be claimed, now or when their lease runs out."""
        found = []
        for group in store.list_groups(self.opened):
            if group.id != self.group:
                live = store.jobs_of(self.opened, group.id, states=("queued", "running"))
                found += [job.id for job in live]
        return found

    @rule(reserve=st.integers(0, 40_000), key=st.sampled_from([None, "a", "b"]))
    def submit(self, reserve, key):
        asked = Submission(self.group, self.user, "x", "1", {}, reserve=reserve, key=key)
        asked = dataclasses.replace(asked, max_attempts=ATTEMPTS)
        held = sum(job.reserve for job in self.jobs.values() if job.state not in ENDED)
        try:
            job = store.submit(self.opened, asked)
        except store.OverBudgetError:
            assert held + self.paid + reserve > BUDGET
            return
        if job.id not in self.jobs:
            assert not reserve or held + self.paid + reserve <= BUDGET
            self.jobs[job.id] = Known(reserve=reserve)

    @rule(target=attempts)
    def claim(self):
        self.expire()
        row = store.claim(self.opened, "w", lease=LEASE)
        ready = [k for k, j in sorted(self.jobs.items()) if self.may_start(j)]
        assert (row.id if row else None) == (ready[0] if ready else None)
        if row is None:
            return multiple()
        job = self.jobs[row.id]
        job.state, job.token, job.until = "running", job.token + 1, self.now + LEASE
        assert row.token == job.token
        return row.id, row.token

    @rule(attempt=attempts)
    def heartbeat(self, attempt):
        self.only_the_holder(attempt, lambda: store.heartbeat(self.opened, *attempt, lease=LEASE))
        if self.holds(attempt):
            self.jobs[attempt[0]].until = self.now + LEASE

    @rule(attempt=consumes(attempts), how=st.sampled_from(["succeeded", "failed", "retry"]))
    def finish(self, attempt, how):
        held, job = self.holds(attempt), self.jobs[attempt[0]]
        outcome = Outcome(how, "" if how == "succeeded" else "It broke.", cpu_seconds=20.0)
        self.only_the_holder(attempt, lambda: store.finish(self.opened, *attempt, outcome))
        if held:
            job.spent += cost(20.0)
            again = how == "retry" and job.state == "running" and job.token < ATTEMPTS
            job.accepted += how == "succeeded" and job.state == "running"
            ended = "failed" if how == "retry" else how
            self.end(
                job, "queued" if again else "cancelled" if job.state == "cancelling" else ended
            )

    @rule(attempt=attempts)
    def log(self, attempt):
        self.only_the_holder(attempt, lambda: store.append_log(self.opened, *attempt, b"line\n"))

    @rule(data=st.data())
    def cancel(self, data):
        if self.jobs:
            name = data.draw(st.sampled_from(sorted(self.jobs)))
            job = self.jobs[name]
            store.cancel(self.opened, name, "ada")
            if job.state == "queued":
                self.end(job, "cancelled")
            elif job.state == "running":
                job.state = "cancelling"

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE + 1]))
    def wait(self, seconds):
        self.time[0] += seconds

    @rule()
    def expire(self):
        store.expire(self.opened)
        for job in self.jobs.values():
            if job.state in ("running", "cancelling") and job.until < self.now:
                lost = "queued" if job.token < ATTEMPTS else "failed"
                self.end(job, "cancelled" if job.state == "cancelling" else lost)

    @invariant()
    def the_database_agrees(self):
        if not hasattr(self, "jobs"):
            return
        rows = {row.id: row for row in store.jobs_of(self.opened, self.group, limit=1_000)}
        assert {k: (j.state, j.token) for k, j in self.jobs.items()} == {
            k: (row.state, row.token) for k, row in rows.items()
        }
        bank = store.find_group(self.opened, self.group)
        assert bank.reserved == sum(j.reserve for j in self.jobs.values() if j.state not in ENDED)
        assert bank.spent == self.paid
        assert bank.reserved + bank.spent <= BUDGET

    def teardown(self):
        for name, job in getattr(self, "jobs", {}).items():
            events = store.events_after(self.opened, job=name, kinds=("state",))
            states = [event.data["state"] for event in events]
            assert states.count("succeeded") == job.accepted <= 1
            assert states[0] == "queued"
            assert states[-1] == job.state

    @property
    def now(self):
        return self.time[0]

    def may_start(self, job):
        return job.state == "queued" and job.not_before <= self.now

    def holds(self, attempt):
        job = self.jobs[attempt[0]]
        return job.token == attempt[1] and job.state in ("running", "cancelling")

    def end(self, job, state):
        job.state = state
        if state in ENDED:
            self.paid += min(job.reserve, job.spent)

    def only_the_holder(self, attempt, call):
        held = self.holds(attempt)
        try:
            call()
        except store.LeaseLostError:
            assert not held
        else:
            assert held
