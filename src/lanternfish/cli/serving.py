"""`lanternfish serve`: the platform on this machine, or for a laboratory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lanternfish.cli.console import Mistake, ending, out, say
from lanternfish.cli.platform import platform_libraries


def serve(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="A laboratory's server: accounts, database."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where data are kept.", show_default="~/.lanternfish"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Port.", show_default="8765, or the next free one"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Jobs at a time.", show_default="1")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Open the platform in a browser: data in, analysis chosen, everything seen that happens.

    Without a configuration it belongs to you alone: no account, this machine only, all in one
    folder. The printed link lets you in, once; run the command again for another.

    Examples:

      lanternfish serve
      lanternfish serve --config lab.toml
    """
    with ending(debug):
        with platform_libraries():
            from lanternfish.service.server import serve as serving
        _serve(serving, _configuration(config, folder, port, workers), port is not None, browser)


def _configuration(config, folder, port, workers):
    from lanternfish.service.server import Configuration, default_folder, read_configuration

    try:
        made = read_configuration(config) if config else Configuration(default_folder())
    except (OSError, ValueError) as error:
        raise Mistake(str(error)) from None
    given = {"folder": folder and folder.absolute(), "port": port, "workers": workers}
    return replace(made, **{name: value for name, value in given.items() if value is not None})


def _serve(serving, configuration, exact: bool, browser: bool) -> None:
    from lanternfish.service.store import StoreError

    _check_sandbox(configuration)
    configuration.folder.mkdir(parents=True, exist_ok=True)
    if configuration.personal:
        configuration.folder.chmod(0o700)
        if _runs_already(serving, configuration, browser):
            return
    try:
        listening, bound = serving.bind(configuration, exact=exact)
    except OSError as error:
        raise Mistake(
            f"Expected port {configuration.port} of {configuration.host} to be free; it is not "
            f"({error.strerror}). Give another: lanternfish serve --port 9000."
        ) from None
    place = configuration.folder / "address"

    def told(address: str) -> None:
        place.write_text(bound.url)
        out().print(f"lanternfish is at  {address}", soft_wrap=True)
        say(f"Data are kept in {bound.folder}. Ctrl-C stops; a job in hand is finished first.")

    try:
        serving.run(bound, listening, told, browser=browser)
    except StoreError as error:
        raise Mistake(str(error)) from None
    finally:
        place.unlink(missing_ok=True)


def _check_sandbox(configuration) -> None:
    """Workers of a shared server run jobs in a sandbox; without one they would end at once."""
    from lanternfish.service.worker.sandbox import available

    if not configuration.personal and configuration.workers and (reason := available()):
        raise Mistake(
            f"{reason} Jobs of a shared server run in this sandbox; with workers = 0 in its file, "
            "or --workers 0, it serves without running any."
        )


def _runs_already(serving, configuration, browser: bool) -> bool:
    """Whether a server of this folder answers already: then it gives another link."""
    import httpx

    from lanternfish.service.server.personal import token_path

    try:
        url = (configuration.folder / "address").read_text().strip()
        token = token_path(configuration.folder).read_text().strip()
        answer = httpx.post(
            f"{url}/api/v1/start-link", headers={"Authorization": f"Bearer {token}"}, timeout=3
        )
        answer.raise_for_status()
    except (OSError, httpx.HTTPError):
        return False
    address = answer.json()["address"]
    say("lanternfish runs already with this folder.")
    out().print(f"lanternfish is at  {address}", soft_wrap=True)
    if browser:
        serving.open_browser(configuration.folder, address)
    return True
