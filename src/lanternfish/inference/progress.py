"""Progress of a study: small events for whoever shows them, and one line for terminals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from lanternfish.core import Posterior
from lanternfish.inference.training import Epoch

TITLES = {
    "simulate": "Simulating",
    "race": "Choosing a density",
    "train": "Training",
    "screen": "Learning validity",
    "sample": "Sampling",
    "check": "Checking",
}


_WORDS = 75  # columns of a line beside its bar


@dataclass(frozen=True)
class Stage:
    """One part of a study: a key of ``TITLES``, of a round."""

    name: str
    round: int
    rounds: int

    def __str__(self) -> str:
        title = TITLES[self.name]
        return f"{title}, {self.round}/{self.rounds}" if self.rounds > 1 else title


@dataclass(frozen=True)
class Progress:
    """How far a stage is.

    Attributes:
        stage: which.
        share: of the stage that is done, from 0 to 1.
        seconds_left: of the stage; None while unknown.
        text: what to say beside the bar.
        values: numbers worth a curve, by name: losses, entropy, distance from the property.
        posterior: gives the posterior as it stands, where there is one; None where there is none.
    """

    stage: Stage
    share: float
    seconds_left: float | None
    text: str
    values: Mapping[str, float] = field(default_factory=dict)
    posterior: Callable[[], Posterior] | None = None

    @classmethod
    def of_simulation(cls, stage: Stage, event) -> Progress:
        return cls(stage, event.done / max(event.total, 1), event.seconds_left, str(event))

    @classmethod
    def of_training(cls, stage: Stage, epoch: Epoch) -> Progress:
        """Training has no fixed end: its share is that of the waits before the last cut."""
        text = f"epoch {epoch.number}, loss {epoch.validation:.2f}, best {epoch.best:.2f}"
        values = {"loss": epoch.validation, "training_loss": epoch.train}
        return cls(stage, epoch.share, epoch.seconds_left, text, values)


Listener = Callable[[Progress], None]


@contextlib.contextmanager
def listening(progress: Listener | bool | None) -> Iterator[Listener]:
    """A listener for a study.

    Args:
        progress: None for a bar where somebody looks, False for none, True for a bar in any case,
            or a function of ``Progress``.
    """
    console = Console(stderr=True)
    if callable(progress):
        yield progress
    elif progress is False or (
        progress is None and not (console.is_terminal or console.is_jupyter)
    ):
        yield lambda event: None
    else:
        with _bar(console) as listener:
            yield listener


@contextlib.contextmanager
def _bar(console: Console) -> Iterator[Listener]:
    columns = (
        TextColumn("{task.description:<23}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=min(max(console.width - _WORDS, 5), 24)),
        TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[left]:>9}", table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[text]}", style="dim"),
    )
    tasks = {}
    with Bar(*columns, console=console, refresh_per_second=4) as bar:

        def tell(event: Progress) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = bar.add_task(str(event.stage), total=1.0, left="", text="")
            left = "" if event.seconds_left is None else f"{_clock(event.seconds_left)} left"
            bar.update(tasks[event.stage], completed=event.share, left=left, text=event.text)

        yield tell


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
