"""Progress of a campaign: a small event for whoever shows it, and a bar for terminals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.errors import LiveError
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from lanternfish.core import Status

EVERY = 0.1  # s between events
Listener = Callable[["Progress"], object]


@dataclass(frozen=True)
class Progress:
    """How far a campaign is.

    Attributes:
        done: simulations that are done, those found in the store included.
        total: simulations of the campaign.
        counts: how many came to which end.
        seconds_left: until the end, at the pace so far; None before anything is done.
    """

    done: int
    total: int
    counts: Mapping[Status, int]
    seconds_left: float | None

    @property
    def valid(self) -> int:
        return self.counts.get(Status.OK, 0)

    @property
    def failed(self) -> int:
        """Simulations that raised, crashed, ran out of time or returned the wrong shape."""
        bad = (Status.RAISED, Status.TIMED_OUT, Status.CRASHED, Status.WRONG_SHAPE)
        return sum(self.counts.get(status, 0) for status in bad)

    def __str__(self) -> str:
        text = f"{self.done:,} of {self.total:,}, {self.valid:,} valid"
        return text + (f", {self.failed:,} failed" if self.failed else "")


class Reporter:
    """Counts simulations and tells the listener."""

    def __init__(self, total: int, listener: Listener | None) -> None:
        self._total = total
        self._listener = listener
        self._numbers = np.zeros(len(Status), np.int64)
        self._found = 0
        self._began = self._told = time.monotonic()

    def found(self, numbers: np.ndarray) -> None:
        """Count simulations that were done before, by status (as ``tally`` gives them)."""
        self._numbers += numbers
        self._found += int(numbers.sum())

    def add(self, status: np.ndarray) -> None:
        """Count simulations that were just done, by their statuses (m,)."""
        self._numbers += tally(status)

    def tell_if_due(self) -> None:
        if time.monotonic() - self._told >= EVERY:
            self.tell()

    @property
    def resumed(self) -> bool:
        """Whether some simulations were done before."""
        return self._found > 0

    @property
    def done(self) -> int:
        return int(self._numbers.sum())

    def tell(self) -> None:
        """Tell how far it is now."""
        if self._listener is None:
            return
        self._told = time.monotonic()
        new = self.done - self._found
        pace = (self._told - self._began) / new if new else None
        counts = {s: int(self._numbers[s]) for s in Status if self._numbers[s]}
        left = None if pace is None else pace * (self._total - self.done)
        self._listener(Progress(self.done, self._total, counts, left))


def tally(status: np.ndarray) -> np.ndarray:
    """How many simulations have each status, shape (number of statuses,)."""
    return np.bincount(status, minlength=len(Status))


class _LeftColumn(TimeRemainingColumn):
    """Time left as the campaign knows it, which found simulations do not speed up."""

    def render(self, task):
        left = task.fields["left"]
        if left is None:
            return Text("-:--:--", style="progress.remaining")
        minutes, seconds = divmod(int(left), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"{hours:d}:{minutes:02d}:{seconds:02d} left", style="progress.remaining")


@contextmanager
def shown(progress: Listener | bool | None) -> Iterator[Listener | None]:
    """The listener to tell: a bar where somebody looks (None), nobody (False), or a function.

    Raises:
        TypeError: if ``progress`` is something else.
    """
    if progress is None:
        with _bar() as listener:
            yield listener
    elif progress is False:
        yield None
    elif callable(progress):
        yield progress
    else:
        raise TypeError(f"Expected progress of None, False or a function; got {progress!r}.")


@contextmanager
def _bar() -> Iterator[Listener | None]:
    """A bar on standard error, if that is a terminal or a notebook that shows none already."""
    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield None
        return
    columns = (TextColumn("Simulating"), BarColumn(), MofNCompleteColumn(), _LeftColumn())
    bar = Bar(*columns, TextColumn("{task.fields[words]}"), console=console)
    try:
        bar.start()
    except LiveError:
        yield None
        return
    task = bar.add_task("", total=None, left=None, words="")

    def show(event: Progress) -> None:
        words = f"{event.valid:,} valid" + (f", {event.failed:,} failed" if event.failed else "")
        left = event.seconds_left
        bar.update(task, completed=event.done, total=event.total, left=left, words=words)

    try:
        yield show
    finally:
        bar.stop()
