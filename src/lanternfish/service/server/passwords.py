"""Passwords: argon2id with the parameters of RFC 9106's second recommendation."""

from __future__ import annotations

import secrets
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 10, 1_000  # characters
_HASHER = PasswordHasher()


def hashed(password: str) -> str:
    """Argon2id hash of a password, with its parameters and salt."""
    return _HASHER.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Whether a password is the stored one; takes as long where there is no such user."""
    try:
        right = _HASHER.verify(stored or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return right and stored is not None


def needs_rehash(stored: str) -> bool:
    return _HASHER.check_needs_rehash(stored)


@lru_cache(maxsize=1)
def _nobody() -> str:
    return _HASHER.hash(secrets.token_hex())


def complaint(password: str, name: str = "") -> str:
    """What is wrong with a new password, or nothing."""
    if len(password) < SHORTEST:
        return f"Expected a password of {SHORTEST} characters or more; got {len(password)}."
    if len(password) > LONGEST:
        return f"Expected a password of at most {LONGEST} characters."
    if name and password.casefold() == name.casefold():
        return "Expected a password other than the name."
    if len(set(password)) < 4:
        return "Expected a password of more than three different characters."
    return ""
