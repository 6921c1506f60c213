"""The job, its states and legal moves; roles; money in whole micro-units. No input or output."""

from lanternfish.service.jobs.money import MICRO, cost, hours, seconds_for, settle
from lanternfish.service.jobs.roles import ROLES, Action, Role, allows
from lanternfish.service.jobs.states import (
    ENDED,
    LIVE,
    MOVES,
    Fate,
    IllegalMoveError,
    State,
    after_finish,
    after_loss,
    after_retry,
    cancelled,
    check_move,
)

__all__ = [
    "ENDED",
    "LIVE",
    "MICRO",
    "MOVES",
    "ROLES",
    "Action",
    "Fate",
    "IllegalMoveError",
    "Role",
    "State",
    "after_finish",
    "after_loss",
    "after_retry",
    "allows",
    "cancelled",
    "check_move",
    "cost",
    "hours",
    "seconds_for",
    "settle",
]
