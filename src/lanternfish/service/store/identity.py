"""Ids that sort by time of making and cannot be guessed, and secrets that are stored hashed."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_LAST = [0, 0]
_LOCK = threading.Lock()


def new_id() -> str:
    """26 characters: 48 bits of time (ms), 16 of order within it, 64 of chance."""
    with _LOCK:
        milliseconds = max(time.time_ns() // 1_000_000, _LAST[0])
        order = _LAST[1] + 1 if milliseconds == _LAST[0] else 0
        if order >= 1 << 16:
            milliseconds, order = milliseconds + 1, 0
        _LAST[:] = milliseconds, order
    number = (milliseconds << 80) | (order << 64) | secrets.randbits(64)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def new_secret() -> str:
    """A secret of 256 bits, to be shown once."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """What the store keeps of a secret. Secrets are random, so one SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def fingerprint(value) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
