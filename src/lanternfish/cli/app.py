"""The commands. Each parses, calls and prints; the work is done by others."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lanternfish import __version__
from lanternfish.cli import analysis, platform, remote, serving, users
from lanternfish.cli.console import Mistake, ending, load_science, out, say
from lanternfish.cli.demo import DEMO, LARGE, MANY_ROUNDS, OUT, ROUNDS, demo_study, rounds_of
from lanternfish.cli.run_folder import what_is_kept
from lanternfish.cli.zoo import complete_model

if TYPE_CHECKING:
    from lanternfish.cli.study_file import Study

HELP = """
Find all the parameters that make a circuit model do what was measured.

A study is a model, a target and a method. Running it gives a posterior over the parameters, and
the evidence that it can be trusted, in a run folder.

First steps:

  lanternfish demo                         the crab's circuit, end to end
  lanternfish run --example > study.toml   a study file that explains itself
  lanternfish run study.toml               your own study
  lanternfish resume runs/study            go on after an interruption
"""

app = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def flowing(text: str) -> str:
    """Help whose paragraphs fill the terminal; indented lines, the examples, stay as they are."""
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(p if p.startswith(" ") else " ".join(p.split()) for p in parts)


def command(function: Callable) -> Callable:
    """Register a command, whose docstring is its help."""
    return app.command(help=flowing(function.__doc__ or ""))(function)


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN", show_default=False)]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Simulations at a time.", show_default="one for each core"
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lanternfish {__version__}")
        raise typer.Exit


@app.callback(help=flowing(HELP))
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@command
def models(
    name: Annotated[
        str | None,
        typer.Argument(
            autocompletion=complete_model, help="Show this model in full.", show_default=False
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """List the models that come with lanternfish, or show one in full.

    lanternfish models            all of them
    lanternfish models stg        parameters with their prior, statistics, targets
    """
    with ending(debug):
        from lanternfish.cli.models_page import show_model, show_zoo
        from lanternfish.cli.zoo import ZOO, suggest

        if name is not None and name not in ZOO:
            raise Mistake(f'Expected one of {", ".join(ZOO)}; got "{name}"{suggest(name, ZOO)}')
        load_science()
        if name is None:
            show_zoo(out())
        else:
            show_model(name, out())


@command
def demo(
    simulations: Annotated[
        int,
        typer.Option(
            min=100, metavar="N", help="Budget: more make the answer better, and take longer."
        ),
    ] = DEMO["simulations"],
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="R",
            help="Rounds that the budget is spent in.",
            show_default=f"{ROUNDS}, or {MANY_ROUNDS} from {LARGE:,} simulations",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Run folder.")] = OUT,
    seed: Annotated[
        int, typer.Option(min=0, metavar="SEED", help="The same seed gives the same run.")
    ] = 0,
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """The crab's pyloric circuit: find the 31 parameters that make its measured rhythm.

    Statistics of the rhythm of crab preparation 845_082 go in. A posterior, pictures, tables and a
    report in plain words come out, in the run folder. Ctrl-C is safe: the same command goes on.

    Examples:

      lanternfish demo
      lanternfish demo --simulations 120000 --out runs/crab-large
      lanternfish demo --simulations 15000 --rounds 4 --out runs/quick
    """
    rounds = rounds or rounds_of(simulations)
    with ending(debug, kept=partial(what_is_kept, out)):
        say(
            f"The crab's pyloric circuit, {simulations:,} simulations in {rounds} rounds, to {out}."
        )
        load_science()
        _conduct(demo_study(simulations, rounds, seed).at(out, workers))


@command
def run(
    study: Annotated[
        Path | None,
        typer.Argument(help="Study file (TOML).", metavar="STUDY.toml", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Run folder.", show_default="that of the study, or runs/STUDY"
        ),
    ] = None,
    workers: Workers = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a study file that explains itself.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Run a study file: a model, a target, a method and a seed.

    The model is one of the zoo or a Python file of yours; the target is named, in a file, or in
    numbers; the method learns (NPE, NLE) or tries (SMC, Rejection, Sweep). All mistakes of the file
    are told at once, before any work begins. Ctrl-C is safe: the same command goes on.

    Examples:

      lanternfish run --example > study.toml
      lanternfish run study.toml
      lanternfish run study.toml --out runs/second --workers 4
    """
    place = Path("runs") / study.stem if study and not out else out
    with ending(debug, kept=lambda: what_is_kept(place or Path("runs"))):
        if example:
            from lanternfish.cli.study_text import EXAMPLE

            typer.echo(EXAMPLE, nl=False)
            return
        if study is None:
            raise Mistake(
                "Expected a study file, as in `lanternfish run study.toml`; got none: "
                "`lanternfish run --example > study.toml` writes one to start from."
            )
        from lanternfish.cli.study_file import read_study

        say(f"Reading {study}.")
        load_science()
        read = read_study(study)
        place = out or read.out or place
        _conduct(read.at(place, workers))


@command
def resume(run: RunFolder, workers: Workers = None, debug: Debug = False) -> None:
    """Go on with a run that was interrupted, from what its folder holds.

    Stages that are done are not done again: a finished run only gets what is missing of its check,
    pictures, tables and report.

    Examples:

      lanternfish resume runs/crab
    """
    with ending(debug, kept=partial(what_is_kept, run)):
        from lanternfish.cli.conduct import conduct
        from lanternfish.cli.run_folder import find_study

        say(f"Going on with {run}.")
        load_science()
        conduct(find_study(run).at(run, workers), run)


@command
def beside(
    study: Annotated[
        Path, typer.Argument(help="Study file (TOML).", metavar="STUDY.toml", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder.", show_default="runs/STUDY-beside"),
    ] = None,
    simulations: Annotated[
        int | None,
        typer.Option(
            min=1_000, metavar="N", help="Budget of SNPE.", show_default="as many as EPI took"
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, metavar="R", help="Rounds of SNPE.")] = 4,
    n: Annotated[
        int, typer.Option("-n", min=100, metavar="N", help="Samples of each to compare.")
    ] = 5_000,
    debug: Debug = False,
) -> None:
    """Ask EPI and SNPE the same question, and say where they agree and differ.

    The study's target is a property. EPI gets it as it is; SNPE gets its mean as an observation,
    and its standard deviation as the measurement's error. One page says in numbers how much of
    their mass is shared, how much entropy each has, what each predicts, and what each cost. Ctrl-C
    is safe: the same command goes on.

    Examples:

      lanternfish beside oscillation.toml
      lanternfish beside oscillation.toml --simulations 50000 --out runs/both
    """
    place = out or Path("runs") / f"{study.stem}-beside"
    kept = f"What is done is kept in {place}: the same command goes on."
    with ending(debug, kept=lambda: kept):
        from lanternfish.cli.beside import compare
        from lanternfish.cli.study_file import read_study

        say(f"Reading {study}.")
        load_science()
        compare(read_study(study), place, simulations, rounds, n)


@command
def check(
    run: RunFolder,
    simulations: Annotated[
        int, typer.Option(min=0, metavar="N", help="Extra simulations that checks may take.")
    ] = 1_000,
    seed: Annotated[int, typer.Option(min=0, metavar="SEED", help="Of the checks.")] = 0,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:NAME", help="Model of a run begun from Python.", show_default=False
        ),
    ] = None,
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Ask whether a run can be trusted, and say in words what was found.

    Calibration, coverage, a classifier at the observation, prediction in units of noise, whether
    the model can do what was measured at all, and more: every check that is valid for the run. What
    is found is kept in the run, its report says so first, and figures/checks.png shows it.

    Examples:

      lanternfish check runs/crab
      lanternfish check runs/crab --simulations 4000
    """
    with ending(debug):
        from lanternfish.cli.check import check_folder

        load_science()
        check_folder(run, simulations, seed, model, workers)


@command
def report(
    run: RunFolder,
    html: Annotated[
        bool, typer.Option("--html", help="Also write RUN/report.html, to look around in.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Say in plain words what a run found, and how good it is.

    Prints the report, and writes it to RUN/report.md with all parameters. With --html, one file for
    a browser, with nothing to fetch: choose a point of the pair plot and see its trace beside the
    data.

    Examples:

      lanternfish report runs/crab
      lanternfish report runs/crab --html
    """
    with ending(debug):
        from lanternfish.cli.conduct import SAMPLES, load
        from lanternfish.cli.report import publish
        from lanternfish.cli.tables import posterior_samples

        load_science()
        found = load(run)
        samples = posterior_samples(found, SAMPLES)
        if html:
            from lanternfish.cli.report_html import publish_html

            publish_html(found, run, samples)
        publish(found, run, samples)


@command
def sample(
    run: RunFolder,
    n: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Samples.")] = 1_000,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="SEED", help="Of the samples.", show_default="that of the run"),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="csv, npz or json.",
            show_default="by the ending of --out, or csv",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File.", show_default="standard output")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATISTIC=MEAN", help="Of a range of properties, the one with this mean."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw samples of a run's posterior: circuits that do what was measured.

    lanternfish sample runs/crab -n 10000 --out samples.npz
    lanternfish sample runs/crab -n 5 --format json
    lanternfish sample runs/crab > samples.csv
    lanternfish sample runs/hub --at hub_frequency=0.7 > fast.csv
    """
    with ending(debug):
        from lanternfish.cli.tables import FORMATS, encoded, posterior_samples

        kind = format or (out.suffix[1:].lower() if out and out.suffix else "csv")
        if kind not in FORMATS:
            raise Mistake(f'Expected a format of {", ".join(FORMATS)}; got "{kind}".')
        if kind == "npz" and out is None:
            raise Mistake("Expected --out FILE for npz, which is binary; got none.")
        from lanternfish.cli.conduct import load

        load_science()
        data = encoded(posterior_samples(load(run), n, seed, at or ()), kind)
        if out is None:
            sys.stdout.write(data.decode())
            return
        _write_file(out, data)
        say(f"{n:,} samples are in {out}.")


def _write_file(path: Path, data: bytes) -> None:
    from lanternfish.core import Folder

    Folder(str(path.absolute().parent)).write(path.name, data)


def _conduct(study: Study) -> None:
    from lanternfish.cli.conduct import conduct
    from lanternfish.cli.run_folder import begin

    assert study.out is not None  # every command names a folder
    begin(study, study.out)
    conduct(study, study.out)


for _each in (serving.serve, *remote.COMMANDS, *platform.COMMANDS):
    command(_each)
app.add_typer(analysis.app, name="analysis")
app.add_typer(users.app, name="user")
