"""What the command line says, and how it ends: errors and interruptions in one sentence."""

from __future__ import annotations

import contextlib
import importlib
import signal
import warnings
from collections.abc import Callable, Iterator

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

WIDE = 120  # columns assumed where nobody looks
MISTAKE, FAILURE, INTERRUPTED = 2, 1, 130  # exit codes
_BUG = "lanternfish did not expect this. The same command with --debug shows where it happened."


def out() -> Console:
    """Standard output; plain text where it is no terminal."""
    return _console(stderr=False)


def err() -> Console:
    """Standard error."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def say(text: str, style: str = "") -> None:
    """One line on standard error: what goes on, not what came out."""
    console = err()
    console.print(Text(text, style), soft_wrap=not console.is_terminal)


class Mistake(ValueError):
    """Something wrong in what the user gave; exit code 2."""


@contextlib.contextmanager
def ending(debug: bool = False, kept: Callable[[], str] | None = None) -> Iterator[None]:
    """Turn errors into one sentence and an exit code.

    Args:
        debug: let errors through, with their traceback.
        kept: called when the user interrupts; says what is kept and how to go on.
    """
    try:
        with _warnings_said():
            yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends at once
        text = kept() if kept else "Nothing is kept: this command leaves nothing half done."
        err().line()
        say(f"Interrupted. {text}", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise  # a reader such as head went away; typer ends quietly
    except Exception as error:
        if debug:
            raise
        _show(error)
        raise typer.Exit(MISTAKE if isinstance(error, Mistake) else FAILURE) from None


@contextlib.contextmanager
def _warnings_said() -> Iterator[None]:
    """Warnings of ours are sentences for the user, not lines of code."""
    shown = warnings.showwarning

    def tell(message, category, filename, lineno, file=None, line=None) -> None:
        if issubclass(category, UserWarning) and str(message).startswith("Expected"):
            say(f"Careful: {message}", "yellow")
        else:
            shown(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.showwarning = tell
        yield


def load_science() -> None:
    """Import what is heavy. An interruption waits for the end: JAX dies of one in the middle."""
    came = []
    try:
        before = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    except ValueError:  # not the main thread, where no interruption arrives
        before = None
    try:
        for room in ("core", "inference", "diagnostics"):
            importlib.import_module(f"lanternfish.{room}")
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


_EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError)


def _show(error: Exception) -> None:
    text = sentence(error)
    if not isinstance(error, _EXPECTED) or not str(error):
        text = f"{type(error).__name__}: {text}\n{_BUG}"
    console = err()
    if console.is_terminal:
        console.print(Panel(Text(text), title="Error", title_align="left", border_style="red"))
    else:
        console.print(Text(f"Error: {text}"), soft_wrap=True)


def sentence(error: BaseException) -> str:
    """An error's text, without Python's decorations."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{place}"
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__
