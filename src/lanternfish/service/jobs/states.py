"""States of a job, and the only moves between them.

    queued ──claim──> running ──finish──> succeeded | failed
      │  ^               │ │
      │  └─retry, loss───┘ └─cancel──> cancelling ──finish, loss──> cancelled
      └─cancel──> cancelled

A job is alive because its lease has not expired, never because a flag says so: `after_loss` tells
what becomes of a job whose lease ran out. An ended job never moves again; running it again makes
another job.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
LIVE = frozenset({State.RUNNING, State.CANCELLING})

MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.CANCELLING, State.SUCCEEDED, State.FAILED}),
    State.CANCELLING: frozenset({State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


class IllegalMoveError(ValueError):
    """A job was asked to move where no job may go."""


def check_move(old: State | str, new: State | str) -> State:
    """`new`, if a job may move there from `old`; raises `IllegalMoveError` otherwise."""
    old, new = State(old), State(new)
    if new not in MOVES[old]:
        wanted = ", ".join(sorted(MOVES[old])) or "no state: the job has ended"
        raise IllegalMoveError(f"Expected a move from {old} to {wanted}; got {new}.")
    return new


@dataclass(frozen=True)
class Fate:
    """What becomes of a job: its next state, why, and who ended it (where it ends)."""

    state: State
    reason: str = ""
    ended_by: str = ""


def cancelled(state: State | str, who: str) -> Fate:
    """The fate of a job that `who` cancels."""
    if State(state) is State.QUEUED:
        return Fate(State.CANCELLED, f"Cancelled by {who} before it started.", who)
    check_move(state, State.CANCELLING)
    return Fate(State.CANCELLING, f"Cancelled by {who}.", who)


def after_finish(state: State | str, wanted: State | str, reason: str = "") -> Fate:
    """The fate of a live job whose child process has ended as `wanted`.

    A job that is being cancelled ends cancelled, however its child ended: nobody is surprised by
    results of a job that they stopped. What it had written is kept.
    """
    if State(state) is State.CANCELLING:
        return Fate(State.CANCELLED, reason)
    return Fate(check_move(state, wanted), reason, "the analysis")


def after_retry(state: State | str, attempts: int, limit: int, reason: str) -> Fate:
    """The fate of a live job whose attempt failed for a cause outside of the analysis."""
    if State(state) is State.CANCELLING:
        return Fate(State.CANCELLED, reason)
    if attempts >= limit:
        return Fate(State.FAILED, f"{reason} This was attempt {attempts} of {limit}.", "the worker")
    return Fate(State.QUEUED, reason)


def after_loss(state: State | str, attempts: int, limit: int, worker: str) -> Fate:
    """The fate of a live job whose lease expired: its worker was not heard of in time."""
    fate = after_retry(state, attempts, limit, f"The worker {worker} was not heard of in time.")
    if fate.state is State.FAILED:
        return Fate(fate.state, fate.reason, "the lease that expired")
    return fate
