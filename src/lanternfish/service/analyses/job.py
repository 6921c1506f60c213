"""The job, as an analysis's `run` sees it; the same with a platform and without one."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Job:
    """Everything that `run` needs, and everything that it may say while it works.

    Attributes:
        inputs: path of the file for each named input that was given. Only read them.
        settings: the validated settings model.
        seed: all randomness should follow from it.
        output: folder; whatever stands in it at the end is a result.
        checkpoint: folder that survives a killed attempt: the next attempt finds it as it was.
        attempt: 1, 2, ...: whether this one goes on from `checkpoint`.
    """

    def __init__(
        self,
        *,
        inputs: Mapping[str, Path],
        settings: Any,
        seed: int,
        output: Path,
        checkpoint: Path,
        attempt: int = 1,
        tell: Callable[[dict], None],
    ) -> None:
        self.inputs = dict(inputs)
        self.settings = settings
        self.seed = seed
        self.output = output
        self.checkpoint = checkpoint
        self.attempt = attempt
        self._tell = tell
        self._stop = threading.Event()

    def log(self, text: str) -> None:
        """Add a line to the log. What is printed gets there, too."""
        print(text, flush=True)

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Say how much is done (0 to 1; None where it cannot be known), and what is being done."""
        share = None if fraction is None else _finite(min(max(float(fraction), 0.0), 1.0))
        self._tell({"kind": "progress", "data": {"fraction": share, "text": str(text)[:200]}})

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Report live science: loss, entropy, constraint error. Drawn as a curve over `step`."""
        data = {"name": str(name)[:60], "value": _finite(float(value)), "step": step}
        self._tell({"kind": "metric", "data": data})

    def picture(self, path: str | os.PathLike) -> None:
        """Show a picture of the output folder now; the same path again replaces it."""
        place = Path(path)
        place = place if place.is_absolute() else self.output / place
        relative = place.resolve().relative_to(self.output.resolve())
        if not place.is_file():
            raise FileNotFoundError(f"Expected a picture at {place}; there is none.")
        self._tell({"kind": "picture", "data": {"path": relative.as_posix()}})

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled the job: save what helps, and return, within seconds."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask `run` to return (whoever runs it calls this)."""
        self._stop.set()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
