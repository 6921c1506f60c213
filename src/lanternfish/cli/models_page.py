"""``lanternfish models``: the zoo at a glance, and one model in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lanternfish.cli.zoo import ZOO, zoo_model

if TYPE_CHECKING:
    from lanternfish.core import Model


def show_zoo(console: Console) -> None:
    """All models: name, size, targets."""
    rows = []
    for name, title in ZOO.items():
        model = zoo_model(name)
        counts = f"{len(model.parameters)}", f"{len(model.statistics)}"
        rows.append((name, title, *counts, ", ".join(model.targets) or "none"))
    console.print(_table(("model", "what it is", "parameters", "statistics", "targets"), rows))
    console.print(Text("In full: lanternfish models NAME", "dim"))


def show_model(name: str, console: Console) -> None:
    """One model: what it is, parameters, statistics, targets."""
    from lanternfish.core import EmergentProperty

    model = zoo_model(name)
    console.print(Text(name, "bold"), Text(ZOO[name]), "", sep="\n")
    if model.about:
        console.print(Text(model.about))
    console.print(_heading("Parameters and their prior"))
    console.print(_table(("name", "prior", "unit"), _parameters(model)))
    console.print(_heading("Statistics"))
    console.print(_table(("name", "unit"), [(c.name, c.unit) for c in model.statistics]))
    console.print(_heading("Targets"))
    for key, target in model.targets.items():
        console.print(Text(f"{key}  {target.name}".rstrip()))
        heads = ("statistic", "wanted" if isinstance(target, EmergentProperty) else "measured")
        console.print(_table((*heads, "unit"), _asked(target, model)))


def _asked(target, model: Model) -> list[tuple[str, str, str]]:
    """Statistics of a target: measured values, or mean and standard deviation."""
    from lanternfish.core.properties import Moments

    rows = []
    for column in model.statistics:
        if column.name in target:
            value = target[column.name]
            text = (
                f"{value.mean:.5g} ± {value.sd:.5g}"
                if isinstance(value, Moments)
                else column.in_words(value)
            )
            rows.append((column.name, text, column.unit))
    return rows


def _heading(text: str) -> Text:
    return Text(f"\n{text}", "bold")


def _parameters(model: Model) -> list[tuple[str, str, str]]:
    rows = []
    ends = zip(model.prior.low, model.prior.high, strict=True)
    for column, (low, high) in zip(model.parameters, ends, strict=True):
        law = model.prior.named_laws.get(column.name)
        kind = type(law).__name__ if law is not None else "joint law"
        rows.append((column.name, f"{kind}, {low:.4g} to {high:.4g}", column.unit))
    return rows


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
