"""Progress of a command: bars in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from lanternfish.cli.console import err, say

if TYPE_CHECKING:
    from lanternfish.inference.progress import Listener, Progress

EVERY = 5.0  # s between lines


@contextlib.contextmanager
def watching() -> Iterator[Listener]:
    """A listener for a study: somebody who looks gets bars, a log gets lines."""
    from lanternfish.inference.progress import listening

    if err().is_terminal:
        with listening(True) as listener:
            yield listener
    else:
        yield Lines()


class Lines:
    """Says where a stage is when it begins, every few seconds, and when it ends."""

    def __init__(self, write: Callable[[str], None] = say, every: float = EVERY) -> None:
        self._write, self._every = write, every
        self._stage = self._last = None
        self._told = 0.0

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        begins, ends = event.stage != self._stage, event.share >= 1
        text = line(event)
        if (begins or ends or now - self._told >= self._every) and text != self._last:
            self._stage, self._told, self._last = event.stage, now, text
            self._write(text)


def line(event: Progress) -> str:
    """One event in words."""
    parts = [f"{event.stage}: {event.share:.0%}", event.text]
    if event.seconds_left is not None and event.share < 1:
        parts.append(f"{clock(event.seconds_left)} left")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
