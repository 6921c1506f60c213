"""What can go wrong in the store; each says what was expected, what came and what to do."""

from __future__ import annotations


class StoreError(Exception):
    """Something that the store refuses."""


class NotFoundError(StoreError):
    """There is no such thing, or not for whoever asks."""


class ConflictError(StoreError):
    """It exists already, differently; or has moved on."""


class OverBudgetError(StoreError):
    """The group's budget does not hold what a job would reserve."""


class OverQuotaError(StoreError):
    """The group has no room for it."""


class ExpiredError(StoreError):
    """It was valid once."""


class LeaseLostError(StoreError):
    """The attempt no longer holds the job: another has taken over, or the job has ended."""
