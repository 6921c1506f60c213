"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lanternfish.cli.report import Report


def to_markdown(report: Report) -> str:
    """The whole report."""
    parts = [f"# {report.title}", "", f"**{report.verdict}**", ""]
    parts += [f"- {'passed' if ok else '**failed**'}: {words}" for ok, words in report.findings]
    parts += _section("What was asked", [f"- {k}: {v}" for k, v in report.asked])
    parts += _section("What was done", [f"- {k}: {v}" for k, v in report.done])
    parts += ["", *_table(report.heads, report.rounds)] if report.rounds else []
    parts += _section("Parameters", _parameters(report))
    if report.statistics:
        parts += _section(statistic_title(report.statistics), _statistics(report))
    pictures = [line for p, what in report.pictures for line in (f"![{what}]({p})", "")]
    parts += _section("Pictures", pictures) if pictures else []
    parts += _section("What to do next", [f"- {step}" for step in report.steps])
    parts += _section("Files", [f"- `{name}`: {what}" for name, what in report.files])
    parts += _section("Provenance", [f"- {k}: {v}" for k, v in report.provenance])
    return "\n".join(parts).rstrip() + "\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _parameters(report: Report) -> list[str]:
    heads = ("parameter", "unit", "mean", "90 % interval", "prior", "narrowed by")
    rows = [
        (
            c.column.name,
            c.column.unit,
            number(c.mean),
            interval(c.low, c.high),
            interval(c.prior_low, c.prior_high),
            narrowing(c.narrowing),
        )
        for c in report.parameters
    ]
    note = (
        "Narrowed by: 90 % over the share of the prior that the posterior's 90 % interval holds; "
        "×1.0 is what was known before."
    )
    return [*_table(heads, rows), "", note]


def _statistics(report: Report) -> list[str]:
    heads, note = statistic_heads(report.statistics)
    rows = [statistic_row(row) for row in report.statistics]
    return [*_table(("statistic", "unit", *heads), rows), "", note]


def statistic_title(rows: Sequence[dict]) -> str:
    return "Wanted and found" if "wanted_mean" in rows[0] else "Measured and predicted"


def statistic_heads(rows: Sequence[dict]) -> tuple[tuple[str, ...], str]:
    """Heads of the columns after name and unit, and what they mean."""
    if "wanted_mean" in rows[0]:
        heads = ("wanted", "found", "90 % interval", "holds")
        return heads, "Wanted and found: mean ± standard deviation."
    heads = ("measured", "predicted", "90 % interval", "inside", "apart")
    return heads, (
        "Predicted: the median. Apart: it to the measurement, in standard deviations of the "
        "prior's valid simulations."
    )


def statistic_row(row: dict, digits: int = 4) -> tuple[str, ...]:
    """Cells of one statistic: name, unit, then those of ``statistic_heads``."""
    if "wanted_mean" in row:
        head = (row["name"], row["unit"], _moments(row["wanted_mean"], row["wanted_sd"]))
        if row["mean"] is None:
            return (*head, "none", "none", "")
        found = _moments(row["mean"], row["sd"])
        spread = interval(row["low"], row["high"], digits)
        return (*head, found, spread, "yes" if row["holds"] else "NO")
    apart = "" if row["distance"] is None else f"{row['distance']:.2f}"
    head = (row["name"], row["unit"], number(row["observed"]))
    if row["median"] is None:
        return (*head, "none", "none", "", "")
    inside = "yes" if row["inside"] else "NO"
    spread = interval(row["low"], row["high"], digits)
    return (*head, number(row["median"]), spread, inside, apart)


def _moments(mean: float, sd: float) -> str:
    return f"{number(mean)} ± {number(sd, 3)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def number(value: float, digits: int = 4) -> str:
    """So many digits, without an exponent where that is short."""
    text = f"{value:.{digits}g}"
    return text if abs(value) < 1e-3 or abs(value) >= 1e4 or "e" not in text else f"{value:.0f}"


def interval(low: float, high: float, digits: int = 4) -> str:
    return f"{number(low, digits)} to {number(high, digits)}"


def narrowing(factor: float) -> str:
    return f"×{factor:.1f}" if factor < 100 else f"×{factor:.0f}"
