"""Models by name (the zoo) or from a user's file."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lanternfish.core import Model

ZOO = {
    "stg": "pyloric rhythm of the crab's stomatogastric ganglion: three neurons, seven synapses",
    "hodgkin_huxley": "one neuron under current clamp; fits whole-cell recordings (NWB)",
    "stg_neuron": "one neuron of the stomatogastric ganglion; the sweeps of 2001 and 2003",
    "stg_networks": "20,250,000 pyloric networks by number: the sweep of 2004",
    "k_channel": "a potassium channel under five voltage clamps, by principal components",
    "gabor": "a receptive field, from the image that triggers its spikes",
    "linear_2d": "two linear units, and how fast they grow and turn: the smallest oscillator",
    "ln_filter": "a neuron's filter over time, ten parameters; its posterior is known exactly",
    "stg_subcircuit": "five neurons of the stomatogastric ganglion, two rhythms that meet in a hub",
    "v1": "stochastic network of four cell types of visual cortex, and the noise that drives it",
    "superior_colliculus": "rapid task switching between Pro and Anti, with inactivation",
    "gaussian_rnn": "rank-one recurrent network that computes a Gaussian posterior, by mean field",
    "amplifying_rnn": "rank-two recurrent network, stable and amplifying; 8 to 1,000 parameters",
}


class WrongOptions(ValueError):
    """Options that a model's function does not take."""


def suggest(word: object, known: Iterable[str]) -> str:
    """'one of a, b, c', closed by the likely intention where there is one."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f': did you mean "{close[0]}"?' if close else "."


def complete_model(incomplete: str) -> list[tuple[str, str]]:
    """Names of the zoo, for shells."""
    return [(name, title) for name, title in ZOO.items() if name.startswith(incomplete)]


def zoo_model(name: str, options: Mapping[str, Any] | None = None) -> Model:
    """A model of the zoo.

    Raises:
        ValueError: if there is none of this name, or the options do not fit.
    """
    if name not in ZOO:
        raise ValueError(f'Expected a model of {", ".join(ZOO)}; got "{name}"{suggest(name, ZOO)}')
    import lanternfish.models

    found = getattr(lanternfish.models, name, None)
    if found is None or isinstance(found, ModuleType):  # the file of the same name
        found = getattr(importlib.import_module(f"lanternfish.models.{name}"), name)
    return call_factory(found, options or {}, name)


def call_factory(factory: Callable, options: Mapping[str, Any], name: str) -> Model:
    """The model that a function returns for these options."""
    from lanternfish.core import Model

    allowed = inspect.signature(factory).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in allowed.values())
    unknown = [key for key in options if key not in allowed]
    if unknown and not open_ended:
        names = ", ".join(allowed) or "none"
        raise WrongOptions(
            f'Expected options of {name} ({names}); got "{unknown[0]}"'
            f"{suggest(unknown[0], allowed)}"
        )
    try:
        model = factory(**options)
    except Exception as error:
        if not options:
            raise
        text = str(error).rstrip(".")
        known = "Expected" in text
        text = text if known else f"Expected options that {name} takes; got {error!r}"
        raise WrongOptions(f"{text}.") from error
    if not isinstance(model, Model):
        raise ValueError(
            f"Expected {name} to return a lanternfish.Model; got {type(model).__name__}."
        )
    return model


def file_model(path: Path, name: str, options: Mapping[str, Any] | None = None) -> Model:
    """A user's model: the attribute ``name`` of a Python file, a Model or a function of options.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be loaded, or holds no such model.
    """
    from lanternfish.core import Model

    module = _load(path)
    models = [n for n, value in vars(module).items() if isinstance(value, Model)]
    found = getattr(module, name, None)
    if isinstance(found, Model):
        if options:
            raise WrongOptions(
                f"Expected no model_options, because {path.name}:{name} is a Model; got "
                f"{', '.join(options)}: turn it into a function of them that returns the Model."
            )
        return found
    if callable(found):
        return call_factory(found, options or {}, f"{path.name}:{name}")
    raise ValueError(
        f'Expected a Model, or a function that returns one, named "{name}" in {path}; got '
        f"{'none' if found is None else type(found).__name__}: "
        + (f'write "{path.name}:{models[0]}".' if models else "define one there.")
    )


def _load(path: Path) -> ModuleType:
    """The module of a file, under its own name where that is free."""
    if not path.is_file():
        raise FileNotFoundError(f"Expected a Python file at {path}; got none.")
    place = str(path.resolve())
    name = path.stem
    if name in sys.modules or not name.isidentifier():
        name = f"lanternfish_file_{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # behind all else: files beside the model can be imported
    linecache.checkcache(place)
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None  # a path that ends in .py has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(_broken(path, place, error)) from error
    return module


def _broken(path: Path, place: str, error: Exception) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == place]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    where = f" in line {line}" if line else ""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (
        f"Expected {path} to be Python that loads; got {type(error).__name__}{where} "
        f"({text.rstrip('.')}): run it with Python to see more."
    )
