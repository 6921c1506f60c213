"""The report in a terminal: the verdict, the parameters most narrowed down, what is where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lanternfish.cli.report import Report
from lanternfish.cli.report_markdown import (
    interval,
    narrowing,
    number,
    statistic_heads,
    statistic_row,
    statistic_title,
)

MOST = 8  # parameters shown; the file has all
DIGITS = 3  # of the ends of intervals, so that a table fits into 80 columns


def show(report: Report, folder: Path, console: Console) -> None:
    """Print a report."""
    console.print()
    console.print(Rule(Text(report.title, "bold"), align="left", characters="─"))
    style = {True: "bold green", False: "bold red", None: "bold yellow"}[report.passed]
    console.print(Text(report.verdict, style))
    for passed, words in report.findings:
        mark = Text("  passed  ", "green") if passed else Text("  FAILED  ", "bold red")
        console.print(_hanging(mark, words))
    console.print()
    facts = [*report.asked, *report.done]
    for name, words in facts:
        console.print(_hanging(Text(f"  {name:<12}", "dim"), words))
    console.print()
    for part in (_print_rounds, _print_parameters, _print_statistics):
        part(report, console)
    console.print(Text("Next", "bold"))
    for step in report.steps:
        console.print(_hanging(Text("  - "), step.replace("`", "")))
    console.print()
    console.print(Text(f"In {folder}", "bold"))
    for name, what in report.files:
        console.print(_hanging(Text(f"  {name:<16}", "cyan"), what))


def _hanging(head: Text, words: str) -> Table:
    """Words that wrap beside their head."""
    grid = Table.grid(padding=(0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(head, Text(words))
    return grid


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_edge = table.pad_edge = False
    table.padding = (0, 1, 0, 0)
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    return table


def _print_rounds(report: Report, console: Console) -> None:
    if len(report.rounds) > 1:
        heads = [head.replace("validation loss", "loss") for head in report.heads]
        console.print(_table("Rounds", heads, report.rounds), "")


def _print_parameters(report: Report, console: Console) -> None:
    ranked = sorted(report.parameters, key=lambda c: -c.narrowing)[:MOST]
    title = "Parameters"
    if len(ranked) < len(report.parameters):
        title = f"The {len(ranked)} parameters most narrowed down, of {len(report.parameters)}"
    rows = [
        (
            _with_unit(c.column.name, c.column.unit),
            number(c.mean),
            interval(c.low, c.high, DIGITS),
            interval(c.prior_low, c.prior_high, DIGITS),
            narrowing(c.narrowing),
        )
        for c in ranked
    ]
    console.print(_table(title, ("", "mean", "90 % interval", "prior", "narrowed by"), rows), "")


def _print_statistics(report: Report, console: Console) -> None:
    if not report.statistics:
        return
    rows = []
    for row in report.statistics:
        name, unit, *cells = statistic_row(row, DIGITS)
        rows.append((_with_unit(name, unit), *cells))
    heads, _ = statistic_heads(report.statistics)
    console.print(_table(statistic_title(report.statistics), ("", *heads), rows), "")


def _with_unit(name: str, unit: str) -> str:
    return f"{name}, {unit}" if unit else name
