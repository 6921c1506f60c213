"""`lanternfish analysis`: the analyses of the platform, without a platform."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanternfish.cli.console import Mistake, ending, out, say

if TYPE_CHECKING:
    from lanternfish.service.analyses import Analysis

app = typer.Typer(
    no_args_is_help=True,
    help="List, look at, check and run analyses: those that come with lanternfish, and those of "
    "packages that are installed.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.command("list")
def list_(debug: Debug = False) -> None:
    """List the analyses that are installed."""
    with ending(debug):
        registry = _registry()
        for name in registry.names():
            try:
                found = registry.load(name)
                text = f"{found.title} ({found.version}). {found.summary}"
            except Exception as error:
                text = f"cannot be used: {type(error).__name__}: {error}"
            out().print(f"{name:<16} {text}", soft_wrap=True)


@app.command()
def show(
    name: Name,
    code: Annotated[bool, typer.Option("--code", help="Print the code that runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what an analysis does, its settings, inputs and outputs."""
    with ending(debug):
        from lanternfish.service.analyses.manifest import describe

        manifest = describe(_load(name))
        if as_json:
            typer.echo(json.dumps(manifest.as_plain(), indent=2))
            return
        if code:
            for each in manifest.sources:
                typer.echo(f"# {each['path']}\n{each['text']}")
            return
        typer.echo(f"{manifest.title} ({manifest.name} {manifest.version})\n")
        typer.echo(f"{manifest.documentation.strip()}\n")
        typer.echo("Settings:")
        for key, field in manifest.schema.get("properties", {}).items():
            default = json.dumps(manifest.defaults[key]) if key in manifest.defaults else "needed"
            unit = f" {field['unit']}" if "unit" in field else ""
            typer.echo(f"  {key} = {default}{unit}    {field.get('description', '')}")
        for title, files in (("Inputs", manifest.inputs), ("Outputs", manifest.outputs)):
            typer.echo(f"{title}:")
            for each in files:
                needed = "" if each["required"] else " (optional)"
                typer.echo(f"  {each.get('name') or each['path']}: {each['title']}{needed}")


@app.command()
def check(
    name: Name,
    demo: Annotated[bool, typer.Option(help="Run the demo, twice.")] = True,
    debug: Debug = False,
) -> None:
    """Check that an analysis keeps to what the platform expects of it."""
    with ending(debug):
        from lanternfish.service.analyses.conformance import conform

        wrong = 0
        for finding in conform(_load(name), demo=demo):
            wrong += not finding.right
            mark = "ok  " if finding.right else "WRONG"
            typer.echo(f"{mark} {finding.what}{': ' if finding.detail else ''}{finding.detail}")
        if wrong:
            raise Mistake(f"Expected {name} to pass all checks; {wrong} did not.")


@app.command()
def run(
    name: Name,
    settings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings (TOML or JSON).", show_default="the defaults"),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=PATH", help="An input file (may be repeated)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Results.", show_default="runs/NAME")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Run the demo.")] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="SEED")] = 0,
    debug: Debug = False,
) -> None:
    """Run an analysis here, without a platform. The same command goes on after an interruption.

    lanternfish analysis run npe --demo

    lanternfish analysis run npe --settings s.toml --input target=measured.csv --out runs/first
    """
    folder = out or Path("runs") / name
    with ending(debug, kept=lambda: f"What is done is kept in {folder}: the same command goes on."):
        from lanternfish.service.analyses.local import RequestError, run_here

        found = _load(name)
        if demo and found.demo is None:
            raise Mistake(f"Expected an analysis with a demo; {name} has none.")
        values = dict(found.demo.settings) if demo and found.demo else {}
        given: dict[str, Any] = dict(found.demo.inputs) if demo and found.demo else {}
        values |= _values(settings) if settings else {}
        given |= dict(_input(text) for text in inputs or ())
        try:
            made = run_here(found, values, given, folder, seed=seed, tell=_tell)
        except RequestError as error:
            raise Mistake(str(error)) from None
        for path, sha256 in made.items():
            typer.echo(f"{sha256[:12]}  {folder / path}")


def _tell(event: dict) -> None:
    if event["kind"] == "metric" and event["data"]["value"] is not None:
        data = event["data"]
        say(f"{data['name']} {data['value']:.4g} (step {data['step']})", "dim")


def _registry():
    try:
        from lanternfish.service.analyses import registry
    except ImportError as error:
        raise Mistake(
            f"Expected the platform's libraries; got none ({error.name}): "
            "pip install 'lanternfish[service]'."
        ) from None
    return registry


def _load(name: str) -> Analysis:
    registry = _registry()
    try:
        return registry.load(name)
    except registry.UnknownAnalysisError as error:
        raise Mistake(str(error)) from None


def _values(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise Mistake(f"Expected a file of settings at {path}; got none.")
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, tomllib.TOMLDecodeError) as error:
        raise Mistake(f"Expected {path} to be {path.suffix[1:].upper()}; got: {error}.") from None


def _input(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise Mistake(f"Expected an input as NAME=PATH; got {text!r}.")
    return name, Path(path)
