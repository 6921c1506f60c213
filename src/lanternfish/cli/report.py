"""The report of a run in plain words: how good it is first, then what was asked, done and found.

``gather`` collects the sentences and rows; ``report_markdown`` writes them to ``report.md`` and
``report_terminal`` prints the shorter version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanternfish.cli import run_folder, tables
from lanternfish.cli.console import out

if TYPE_CHECKING:
    from lanternfish.core import Table
    from lanternfish.core.run import Run
    from lanternfish.diagnostics import Constraint

PICTURES = {
    "pair.png": "posterior of every pair of parameters",
    "traces.png": "traces of posterior samples",
    "predictive.png": "predicted statistics beside the target",
    "checks.png": "what was checked, and what is right",
    "training.png": "training curves",
    "optimisation.png": "entropy and constraints over the optimisation",
}
MORE = 4  # how many times the simulations a better run is advised to take


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        title: model and target.
        passed: whether all checks passed; None where there was none.
        verdict: one sentence, the first of the report.
        findings: (passed, sentence) of each check.
        asked, done, provenance: (what, words).
        heads: of the columns of the rounds.
        rounds: number, simulations, valid, share of valid; then epochs and validation loss, or how
            many were accepted and the tolerance.
        parameters: of the posterior, in the model's order.
        statistics: rows of the predictive check.
        pictures: (path in the folder, what it shows).
        files: (name in the folder, what it holds).
        steps: what to do next.
    """

    title: str
    passed: bool | None
    verdict: str
    findings: list[tuple[bool, str]]
    asked: list[tuple[str, str]]
    done: list[tuple[str, str]]
    heads: tuple[str, ...]
    rounds: list[tuple[str, ...]]
    parameters: list[Constraint]
    statistics: list[dict]
    pictures: list[tuple[str, str]]
    files: list[tuple[str, str]]
    steps: list[str]
    provenance: list[tuple[str, str]]


def publish(run: Run, folder: Path, samples: Table) -> None:
    """Write ``report.md`` and the summary tables, and print the report."""
    from lanternfish.cli.report_markdown import to_markdown
    from lanternfish.cli.report_terminal import show
    from lanternfish.core import Folder
    from lanternfish.diagnostics import constraints

    found = constraints(run.posterior, samples)
    rows = run.checks.get("predictive", {}).get("statistics", [])
    tables.write_summaries(found, rows, folder)
    told = gather(run, folder, found)
    Folder(str(folder)).write("report.md", to_markdown(told).encode())
    show(told, folder, out())


def gather(run: Run, folder: Path, constraints: Sequence[Constraint]) -> Report:
    """The report of a run in a folder."""
    check = run.checks.get("predictive", {})
    findings = _found(run)
    target = run.posterior.target
    model = run.model.get("name", "model")
    pictures = [(f"figures/{name}", PICTURES[name]) for name in PICTURES]
    name = _target_name(target, folder)
    return Report(
        title=f"{model}: {name}" if name else model,
        passed=_passed(run, findings),
        verdict=_verdict(_passed(run, findings), findings),
        findings=findings,
        asked=_asked(run, model, name),
        done=_done(run, folder),
        heads=_heads(run),
        rounds=[_round(number, r) for number, r in enumerate(_rounds(run), start=1)],
        parameters=list(constraints),
        statistics=list(check.get("statistics", [])),
        pictures=[(path, what) for path, what in pictures if (folder / path).is_file()],
        files=_files(folder),
        steps=_steps(run, folder, constraints),
        provenance=_provenance(run),
    )


def _found(run: Run) -> list[tuple[bool, str]]:
    """Whether each check passed, and its sentence; what EPI proved of itself comes first."""
    own = run.checks.get("convergence")
    proven = [] if own is None else [(bool(own["passed"]), own["sentence"])]
    check = run.checks.get("predictive", {})
    found = proven + [(bool(f["passed"]), f["sentence"]) for f in check.get("findings", [])]
    if run.trust is not None:
        made = [c for c in run.trust.values() if c.name != "convergence" or not proven]
        found += [(c.passed, f"{c.name}: {c.verdict}") for c in made]
    return found


def _passed(run: Run, findings: Sequence[tuple[bool, str]]) -> bool | None:
    return all(ok for ok, _ in findings) if findings else None


def _is_property(run: Run) -> bool:
    from lanternfish.core import EmergentProperty

    return isinstance(run.posterior.target, EmergentProperty)


def _verdict(passed: bool | None, findings: Sequence[tuple[bool, str]]) -> str:
    if passed is None:
        return "Not checked: nobody knows yet whether this posterior predicts what was measured."
    if passed:
        return "Good: the posterior passed every check."
    failed = sum(not ok for ok, _ in findings)
    return f"Careful: this posterior failed {failed} of {len(findings)} checks."


def _rounds(run: Run) -> list[dict]:
    return list(run.history.get("rounds", []))


def _target_name(target, folder: Path) -> str:
    """Named as in the study file, with the name that the observation itself carries."""
    values = (
        run_folder.read_toml(folder / "study.toml") if (folder / "study.toml").is_file() else {}
    )
    named = values.get("target")
    return named if isinstance(named, str) else target.name


def _asked(run: Run, model: str, name: str) -> list[tuple[str, str]]:
    target = run.posterior.target
    source = f" ({target.name})" if target.name and target.name != name else ""
    what = f"{len(target)} measured statistics"
    question = "which parameters make the model do what was measured"
    if _is_property(run):
        what = ", ".join(f"{k} {m.mean:g} ± {m.sd:g}" for k, m in target.items())
        question = "which distributions of parameters have this property, and the widest of them"
    return [
        ("model", f"{model}, {len(run.posterior.parameters)} parameters"),
        ("target", f"{name}{source}, {what}" if name else what),
        ("question", question),
    ]


def _done(run: Run, folder: Path) -> list[tuple[str, str]]:
    rounds, simulations = _rounds(run), run.simulations
    valid = simulations.valid_fraction
    method = run.method.get("name", "method")
    many = f", {len(rounds)} rounds" if len(rounds) > 1 else ", 1 round" if rounds else ""
    seconds, sittings = run_folder.time_worked(folder)
    inferred = float(run.provenance.get("seconds", 0.0))
    total = span(seconds or inferred) + (f", in {sittings} sittings" if sittings > 1 else "")
    return [
        ("method", f"{method}{many}"),
        *_density(run),
        *_entropy(run),
        *_accepted(run),
        ("simulations", f"{len(simulations):,}, {_percent(valid)} of them valid"),
        *[("notes", note) for note in _notes(run)],
        ("time", total),
    ]


def _notes(run: Run) -> list[str]:
    """What a reader should know of how the rounds went, one sentence each."""
    notes, rounds = list(run.history.get("notes", [])), _rounds(run)
    for number, entry in enumerate(rounds, start=1):
        for said in ("far", "little"):
            if entry.get(said):
                notes.append(entry[said])
        if entry.get("note"):
            notes.append(entry["note"])
        if entry.get("reverted"):
            notes.append(
                f"round {number} made the posterior worse on simulations held out "
                f"({entry['gain']:.2f} nats), so the one before was kept"
            )
        if entry.get("collapsed"):
            notes.append(
                f"round {number} left too few valid simulations to learn from in its region, so "
                "the posterior before was kept: give each round more simulations"
            )
    planned = run.method.get("rounds", len(rounds))
    if rounds and "wide" in rounds[0]:
        notes.append(
            f"{len(rounds)} of {planned}: the posterior is nearly Gaussian and reaches over "
            f"{100 * rounds[0]['wide']:.0f} % of the prior, which is not worth cutting, so the "
            "last took all that was left of the budget, from the whole prior, and the posterior is "
            "amortised"
        )
    elif len(rounds) < planned and not any("tolerance" in entry for entry in rounds):
        notes.append(
            f"{len(rounds)} of {planned}: further ones brought nothing more, so the last took all "
            "that was left of the budget"
        )
    return notes


def _density(run: Run) -> list[tuple[str, str]]:
    """What was learned with, and how it was decided."""
    architecture, rounds = getattr(run.posterior, "architecture", None), _rounds(run)
    contrast = rounds[-1].get("contrast", {}) if rounds else {}
    told = ", ".join(f"{name} {value:.2f}" for name, value in contrast.items())
    chosen = f"; chosen by held-out contrast in nats: {told}" if told else ""
    if architecture is None:
        return [("density", "exponential family" + chosen)] if told else []
    members, race = getattr(run.posterior, "members", 1), rounds[0].get("race") if rounds else None
    text = architecture.kind + (f", {members} of them together" if members > 1 else "")
    if race:
        others = [f"{k} {loss:.2f}" for k, loss in race.items() if k != architecture.kind]
        text += f"; chosen by held-out loss {race[architecture.kind]:.2f} nats, {', '.join(others)}"
    return [("density", text + chosen)]


def _entropy(run: Run) -> list[tuple[str, str]]:
    """What EPI says of its entropy, and how it worked."""
    told = [("entropy", run.checks["entropy"]["sentence"])] if "entropy" in run.checks else []
    steps = [max(epoch["step"]) for epoch in run.history.get("curves", [])]
    levels = run.history.get("annealed", {}).get("levels", [])
    how = [f"a population annealed in {len(levels)} levels"] if levels else []
    how += [f"{max(steps):,} steps"] if steps else []
    return told + ([("trained", ", ".join(how))] if how else [])


def _accepted(run: Run) -> list[tuple[str, str]]:
    """How near accepted simulations are, and how many they are worth."""
    rounds = _rounds(run)
    if not rounds or rounds[-1].get("tolerance") is None:
        return []
    last = rounds[-1]
    worth = f"{last['accepted']:,} simulations within {last['tolerance']:.4g} of the target"
    return [
        ("accepted", f"{worth}, worth {last['effective']:,.0f} of equal weight"),
        ("distance", "root mean square over statistics, each in units of its own scale"),
    ]


def span(seconds: float) -> str:
    """A time in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _heads(run: Run) -> tuple[str, ...]:
    accepting = any("tolerance" in entry for entry in _rounds(run))
    last = ("accepted", "tolerance") if accepting else ("epochs", "validation loss")
    return ("round", "simulations", "valid", "share", *last)


def _round(number: int, entry: Mapping[str, Any]) -> tuple[str, ...]:
    losses = [v for v in entry["validation"] if v is not None]
    first = (
        str(number),
        f"{entry['simulations']:,}",
        f"{entry['valid']:,}",
        _percent(entry["valid_fraction"]),
    )
    if "tolerance" in entry:
        tolerance = entry["tolerance"]
        return (
            *first,
            f"{entry['accepted']:,}",
            "none" if tolerance is None else f"{tolerance:.4g}",
        )
    return (
        *first,
        str(len(entry["validation"])),
        f"{min(losses):.3f}" if losses else "none",
    )


def _percent(share: float | None) -> str:
    from lanternfish.diagnostics.predictive import percent

    return "none" if share is None else percent(share)


def _files(folder: Path) -> list[tuple[str, str]]:
    named = {
        "report.md": "this report, all parameters included",
        "report.html": "this report to look around in, for a browser",
        "samples.csv": "posterior samples",
        "parameters.csv": "mean, interval and narrowing of each parameter",
        "statistics.csv": "statistics as predicted and as asked for",
        "study.toml": "the study, to repeat or to change",
        "run.json": "the run, for lanternfish.Run.load",
    }
    there = [(n, what) for n, what in named.items() if n == "report.md" or (folder / n).is_file()]
    pictures = [p for p in PICTURES if (folder / "figures" / p).is_file()]
    return [*there, ("figures/", ", ".join(pictures))] if pictures else there


def _steps(run: Run, folder: Path, constraints: Sequence[Constraint]) -> list[str]:
    check, trust = run.checks.get("predictive"), run.trust
    advised = [] if trust is None else [f"{c.name}: {c.advice}" for c in trust.failed if c.advice]
    if not check:
        resume = f"Check the posterior: `{run_folder.command('resume', folder)}`."
        return [*advised, resume] if trust is None else advised
    steps = advised
    if trust is None:
        steps.append(f"Check further: `{run_folder.command('check', folder)}`.")
    if not check["passed"]:
        steps.append(_convergence_step(run) or _more_simulations(run, folder))
        missed = [s["name"] for s in check["statistics"] if s.get("inside") is False]
        if missed:
            steps.append(
                f"Look at {', '.join(missed)} in figures/predictive.png. Where more simulations do "
                "not bring the prediction to the measurement, the model cannot do what was "
                "measured within its prior."
            )
    for edge in ("lower", "upper"):
        names = [c.column.name for c in constraints if c.edge == edge]
        if names:
            steps.append(
                f"{', '.join(names)}: the posterior piles up at the prior's {edge} bound. A wider "
                "prior may hold better parameters."
            )
    steps.append(
        f"More samples: `{run_folder.command('sample', folder)} -n 10000 --out samples.npz`."
    )
    if check["passed"] and not _is_property(run):
        steps.append(_more_simulations(run, folder))
    return steps


def _convergence_step(run: Run) -> str | None:
    if "convergence" not in run.checks:
        return None
    return (
        "Another seed, members = 3 in [method] or more steps may converge: compare "
        "figures/optimisation.png. Where the same moment stays off, no distribution in the prior "
        "may have it."
    )


def _more_simulations(run: Run, folder: Path) -> str:
    now = int(run.method.get("simulations") or len(run.simulations))
    more = MORE * now
    wide = " makes the posterior better" if now else ""
    if run.model.get("name") == "stg" and _target_name(run.target, folder) == "prep_845_082":
        demo = run_folder.command("demo --out", Path(f"{folder}-{more}"))
        return f"A larger budget{wide}: `{demo} --simulations {more}`."
    return (
        f"A larger budget{wide}: set `simulations = {more:_}` in a copy of {folder}/study.toml, "
        f"and `{run_folder.program()} run` the copy with `--out {folder}-{more}`."
    )


def _provenance(run: Run) -> list[tuple[str, str]]:
    facts = dict(run.provenance)
    versions = facts.get("versions", {})
    rows = [("seed", str(run.seed))]
    rows += [(name, str(facts[name])) for name in ("began", "machine", "python") if name in facts]
    rows += [(name, str(version)) for name, version in versions.items()]
    rows += [(f"method: {name}", text) for name, text in _settings(run.method)]
    rows.append(("model's code", str(run.model.get("simulator", "unknown"))))
    return rows


def _settings(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _settings(value, f"{prefix}{name}.")
        elif value is not None:
            rows.append((prefix + name, str(value)))
    return rows
