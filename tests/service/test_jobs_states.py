"""States, moves, roles and money, without any database."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanternfish.service.jobs import (
    ENDED,
    LIVE,
    MOVES,
    Action,
    Role,
    State,
    after_finish,
    after_loss,
    after_retry,
    allows,
    cancelled,
    check_move,
    cost,
    seconds_for,
    settle,
)


def reachable(start):
    seen, new = set(), {start}
    while new:
        seen |= new
        new = {to for each in new for to in MOVES[each]} - seen
    return seen


def test_every_state_is_reached_and_every_live_one_can_end():
    assert reachable(State.QUEUED) == set(State)
    for state in State:
        ends = reachable(state) & ENDED
        assert ends
        assert (ends == {state}) == (state in ENDED)


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_moves_are_those_of_the_table_and_no_others(old, new):
    if new in MOVES[old]:
        assert check_move(old, new) is new
    else:
        with pytest.raises(ValueError, match="Expected a move from"):
            check_move(old, new)


@given(st.sampled_from(sorted(LIVE)), st.integers(1, 9), st.integers(1, 9))
def test_fates_are_legal_moves_and_say_why(state, attempts, limit):
    for fate in (
        after_loss(state, attempts, limit, "w"),
        after_retry(state, attempts, limit, "The disk was full."),
        after_finish(state, State.SUCCEEDED),
        after_finish(state, State.FAILED, "It diverged."),
    ):
        assert check_move(state, fate.state) is fate.state
        assert fate.reason or fate.state in (State.SUCCEEDED, State.CANCELLED)
        if state is State.CANCELLING:
            assert fate.state is State.CANCELLED
    retried = after_retry(state, attempts, limit, "x").state
    assert (retried is State.QUEUED) == (state is State.RUNNING and attempts < limit)


def test_cancelling_names_who():
    assert cancelled(State.QUEUED, "ada").ended_by == "ada"
    assert cancelled(State.RUNNING, "ada").state is State.CANCELLING
    for ended in ENDED:
        with pytest.raises(ValueError, match="has ended"):
            cancelled(ended, "ada")


@given(st.floats(0, 1e9), st.integers(0, 10**12))
def test_money_is_whole_rounded_up_and_conserved(seconds, reserved):
    units = cost(seconds)
    exact = Fraction(seconds) * 1_000_000 / 3_600
    assert units - 1 <= exact * (1 + Fraction(1, 10**12))  # the product is rounded once
    assert units >= exact * (1 - Fraction(1, 10**12))
    paid, back = settle(reserved, units)
    assert paid + back == reserved
    assert paid == min(reserved, units)
    assert cost(seconds_for(reserved)) - reserved in (0, 1)


def test_roles_allow_what_those_below_allow():
    for action in Action:
        allowed = [allows(role, action) for role in Role]
        assert allowed == sorted(allowed)
        assert allowed[-1]
        assert not allows(None, action)
    assert not allows("viewer", "run")
    assert allows("member", "run")
    assert not allows("member", "manage")
    assert not allows("owner", "govern")
