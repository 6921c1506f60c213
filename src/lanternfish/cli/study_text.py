"""Study files as text: one that teaches, and one that a run folder keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

EXAMPLE = """\
# A study: a model, a target, a method and a seed.
#
#   lanternfish run study.toml
#
# Paths are relative to this file.

# A model of the zoo (`lanternfish models` lists them), or a Model in a file of yours,
# or a function in it that returns one: "my_model.py:model".
model = "stg"

# What was measured: a target that comes with the model (`lanternfish models stg`) ...
target = "prep_845_082"
# ... or a file with a value for each statistic (.csv, .json, .npz):
# target = "measured.csv"
# ... or the numbers themselves, in a table at the end of this file:
# [target]
# rate = 12.0

# The same seed gives the same run.
seed = 0

# Folder of the run; the file's name under runs/ where left out.
out = "runs/study"

# Simulations at a time; one for each core where left out.
# workers = 2

# Posterior samples that are simulated at the end, to check the answer; 0 for no check.
# check_samples = 500

# What the model's function is called with. A cell of yours instead of the crab's circuit:
#   model = "hodgkin_huxley"
#   [model_options]
#   recording = "cell.nwb"
#   area = 1.8e-4              # of the membrane, cm2

[method]
name = "NPE"                # neural posterior estimation; or "NLE", or trial and error:
                            # "SMC", "Rejection", "Sweep"
simulations = 60_000        # over all rounds: more make it better
rounds = 6                  # 1: good for any target; more: all effort for this one
density = "maf"             # or "spline"

# [method.training]
# epochs = 50
"""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(values: Mapping[str, Any], title: str) -> str:
    """A TOML file of text, numbers, lists and tables; None is left out."""
    lines = [f"# {title}", ""]
    _table(values, (), lines)
    return "\n".join(lines).rstrip() + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    plain = {k: v for k, v in values.items() if v is not None and not isinstance(v, Mapping)}
    lines += [f"{_key(name)} = {_value(value)}" for name, value in plain.items()]
    for name, value in values.items():
        if isinstance(value, Mapping):
            below = (*path, name)
            lines += ["", f"[{'.'.join(_key(part) for part in below)}]"]
            _table(value, below, lines)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(v) for v in value)}]"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items())
        return f"{{{inside}}}"
    return str(value) if not isinstance(value, int | float) else repr(value)
