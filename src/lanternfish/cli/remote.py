"""Commands against any platform: login, upload, submit, status, logs, cancel, download."""

from __future__ import annotations

import json
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.table import Table

from lanternfish.cli.console import Mistake, ending, err, out, say

if TYPE_CHECKING:
    from lanternfish.cli.client import Client

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="LANTERNFISH_SERVER",
        metavar="URL",
        help="Server.",
        show_default="where you signed in last, or yours on this machine",
    ),
]
Group = Annotated[
    str | None,
    typer.Option("--group", metavar="NAME", help="Group, if you are in several."),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.", show_default=False)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
FAILED = 1  # exit code where a job that is followed does not succeed


def _connect(server: str | None) -> Client:
    try:
        from lanternfish.cli.client import connect
    except ImportError as error:
        raise Mistake(
            f"Expected the platform's libraries; got none ({error.name}): "
            "pip install 'lanternfish[service]'."
        ) from None
    return connect(server)


def login(
    server: Annotated[str, typer.Argument(metavar="URL", help="Address of the server.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Your name there; asked for otherwise.")
    ] = None,
    token: Annotated[
        bool, typer.Option("--token", help="Give a personal access token instead of a password.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Sign in to a server; later commands ask this one.

    Secrets are typed or come from standard input, never from the command line, which all users of a
    machine can see.

    Examples:

      lanternfish login https://lab.example.org
      lanternfish login https://lab.example.org --token < token.txt
    """
    with ending(debug):
        from lanternfish.cli.client import Client, remember

        url = server.rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise Mistake(f"Expected an address such as https://lab.example.org; got {server}.")
        if token:
            secret = _secret("Personal access token")
        else:
            name = name or typer.prompt("Name")
            body = {"name": name, "password": _secret("Password"), "token": _here()}
            secret = Client(url, "").ask_openly("/sign-in", body)["secret"]
        me = Client(url, secret).get("/me")
        remember(url, secret)
        groups = ", ".join(group["name"] for group in me["groups"]) or "no group yet"
        say(f"Signed in at {url} as {me['name']} ({groups}).")


def upload(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files.")],
    server: Server = None,
    group: Group = None,
    debug: Debug = False,
) -> None:
    """Upload files; prints the id of each. An interrupted connection goes on by itself.

    Examples:

      lanternfish upload recording.nwb
    """
    with ending(debug):
        client = _connect(server)
        for path in files:
            out().print(_upload(client, path, group)["id"])


def submit(
    analysis: Annotated[str, typer.Argument(metavar="ANALYSIS", help="Name, as npe or sweep.")],
    settings: Annotated[
        Path | None,
        typer.Option("--settings", metavar="FILE.json", help="Settings, as the page saves them."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting (may be repeated)."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="[NAME=]FILE",
            help="File, or id of a data set; one job for each of the first input.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed.", show_default="0")] = None,
    title: Annotated[str, typer.Option(metavar="TEXT", help="Title.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the log, wait.")] = False,
    server: Server = None,
    group: Group = None,
    debug: Debug = False,
) -> None:
    """Check settings and data, and start one job for each data set; prints the ids of the jobs.

    Examples:

      lanternfish submit sweep --set points=4096 --follow
      lanternfish submit npe --settings settings.json -i a.csv -i b.csv
      lanternfish submit npe -i target=measured.csv -i model=circuit.py
    """
    with ending(debug):
        client = _connect(server)
        seen = client.get(f"/analyses/{analysis}")
        values, kept_seed = _settings(analysis, settings, change or [], seen["settings_schema"])
        body = {
            "analysis": analysis,
            "settings": values,
            "inputs": _runs(client, seen["inputs"], data or [], group),
            "seed": kept_seed if seed is None else seed,
            "title": title,
        }
        key = {"Idempotency-Key": uuid.uuid4().hex}
        query = {"group": group} if group else {}
        jobs = client.post("/jobs", body, headers=key, params=query)
        for job in jobs:
            out().print(job["id"])
        if follow:
            states = [_follow(client, job["id"], len(jobs) > 1) for job in jobs]
            if set(states) != {"succeeded"}:
                raise typer.Exit(FAILED)


def status(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="One job in full.", show_default=False)
    ] = None,
    number: Annotated[int, typer.Option("-n", min=1, max=500, help="Jobs that are listed.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    server: Server = None,
    group: Group = None,
    debug: Debug = False,
) -> None:
    """List jobs, or show one: state, place in the queue and why it waits.

    Examples:

      lanternfish status
      lanternfish status 01m89ncvys00038n3v2qsyvpjx --json
    """
    with ending(debug):
        client = _connect(server)
        if job is None:
            found = client.get("/jobs", limit=number, **({"group": group} if group else {}))
        else:
            found = client.get(f"/jobs/{job}")
        if as_json:
            print(json.dumps(found, indent=2, ensure_ascii=False))
        elif job is None:
            _list(found)
        else:
            _show(found)


def logs(
    job: Job,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Until the job ends.")] = False,
    server: Server = None,
    debug: Debug = False,
) -> None:
    """Print a job's log.

    Examples:

      lanternfish logs -f 01m89ncvys00038n3v2qsyvpjx
    """
    with ending(debug):
        client = _connect(server)
        if follow:
            if _follow(client, job, False) != "succeeded":
                raise typer.Exit(FAILED)
            return
        offset = 0
        while True:
            answer = client.ask("GET", f"/api/v1/jobs/{job}/log", params={"offset": offset})
            sys.stdout.write(answer.text)
            if not answer.content:
                return
            offset = int(answer.headers["X-Next-Offset"])


def cancel(job: Job, server: Server = None, debug: Debug = False) -> None:
    """Stop a job; its log and what it has written stay.

    Examples:

      lanternfish cancel 01m89ncvys00038n3v2qsyvpjx
    """
    with ending(debug):
        seen = _connect(server).post(f"/jobs/{job}/cancel")
        say(f"{job} is {seen['state']}.")


def download(
    job: Job,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH...]", help="Files or folders.", show_default="all"),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder.", show_default="JOB")
    ] = None,
    server: Server = None,
    debug: Debug = False,
) -> None:
    """Download the results of a job and its certificate; hashes are compared.

    Examples:

      lanternfish download 01m89ncvys00038n3v2qsyvpjx
      lanternfish download 01m89ncvys00038n3v2qsyvpjx figures samples.csv --out results
    """
    with ending(debug):
        client, folder = _connect(server), to or Path(job)
        found = client.get(f"/jobs/{job}/files")
        wanted = [each for each in found if _named(each["path"], files or [])]
        if files and not wanted:
            raise Mistake(f"Expected files of {', '.join(f['path'] for f in found) or 'none'}.")
        for each in wanted:
            place = _inside(folder, each["path"])
            client.download(job, each["path"], place)
            _compare(place, each["sha256"])
        if not files:
            folder.mkdir(parents=True, exist_ok=True)
            certificate = client.get(f"/jobs/{job}/certificate")
            text = json.dumps(certificate, indent=2, ensure_ascii=False)
            (folder / "certificate.json").write_text(text + "\n")
        say(f"{len(wanted)} files are in {folder}, and their hashes are right.")


def _secret(what: str) -> str:
    if sys.stdin.isatty():
        return typer.prompt(what, hide_input=True)
    return sys.stdin.readline().strip()


def _here() -> str:
    import socket

    return f"command line of {socket.gethostname()}"[:100]


def _upload(client: Client, path: Path, group: str | None) -> dict[str, Any]:
    if not path.is_file():
        raise Mistake(f"Expected a file; there is none at {path}.")
    bar = Progress("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn(),
                   console=err(), transient=True)  # fmt: skip
    with bar:
        task = bar.add_task(path.name, total=path.stat().st_size)
        made = client.upload(path, lambda sent: bar.update(task, completed=sent), group)
    say(f"{path.name} is uploaded ({made['size']:,} bytes, SHA-256 {made['sha256'][:12]}…).")
    return made


def _settings(
    analysis: str, file: Path | None, changes: list[str], schema: dict[str, Any]
) -> tuple[dict[str, Any], int]:
    """Settings of a file with changes, and the file's seed."""
    values: dict[str, Any] = {}
    seed = 0
    if file is not None:
        try:
            values = json.loads(file.read_text())
        except ValueError as error:
            raise Mistake(f"Expected JSON in {file}: {error}.") from None
        if values.get("format") == "lanternfish settings 1":
            if values["analysis"] != analysis:
                raise Mistake(
                    f"Expected settings of {analysis}; got those of {values['analysis']}."
                )
            values, seed = values["settings"], values.get("seed", 0)
    for change in changes:
        name, sign, text = change.partition("=")
        known = schema.get("properties", {})
        if not sign or name not in known:
            raise Mistake(f"Expected NAME=VALUE with a name of {', '.join(known)}; got {change}.")
        values[name] = _value(text)
    return values, seed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _runs(
    client: Client, inputs: list[dict[str, Any]], given: list[str], group: str | None
) -> list[dict[str, str]]:
    """One set of inputs for each job: files are uploaded first."""
    chosen: dict[str, list[str]] = {}
    names = [each["name"] for each in inputs]
    for each in given:
        name, sign, text = each.partition("=")
        if not sign or name not in names:
            if not names:
                raise Mistake("This analysis takes no data.")
            name, text = names[0], each
        path = Path(text)
        is_file = path.exists() or os.sep in text or "." in text
        dataset = _upload(client, path, group)["id"] if is_file else text
        chosen.setdefault(name, []).append(dataset)
    several = [name for name, found in chosen.items() if len(found) > 1]
    if len(several) > 1:
        raise Mistake(f"Expected several files for one input only; got {', '.join(several)}.")
    if not several:
        return [{name: found[0] for name, found in chosen.items()}]
    fixed = {name: found[0] for name, found in chosen.items() if name != several[0]}
    return [{**fixed, several[0]: each} for each in chosen[several[0]]]


def _follow(client: Client, job: str, named: bool) -> str:
    """Print a log as it comes; returns the state that the job ends in."""
    state = ""
    for name, told in client.stream(job):
        if name == "log":
            text = told["text"]
            head = f"{job[-6:]} "
            sys.stdout.write("".join(head + t for t in text.splitlines(True)) if named else text)
            sys.stdout.flush()
        elif name == "message":
            say(told["data"]["text"])
        elif name == "state" and told["data"].get("reason"):
            say(f"{job}: {told['data']['state']}. {told['data']['reason']}")
        elif name == "end":
            state = told["state"]
    say(f"{job}: {state}.")
    return state


def _list(jobs: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("job", "state", "analysis", "title", "data"):
        table.add_column(title, no_wrap=title in ("job", "state"))
    for job in jobs:
        share = (
            f" {100 * job['progress']:.0f} %"
            if job["progress"] and job["state"] == "running"
            else ""
        )
        names = ", ".join(each["filename"] for each in job["inputs"])
        table.add_row(job["id"], job["state"] + share, job["analysis"], job["title"], names)
    out().print(table)


def _show(job: dict[str, Any]) -> None:
    console = out()
    console.print(f"{job['title']} ({job['analysis']} {job['version']}), seed {job['seed']}")
    line = job["state"]
    if job["queue"]:
        place = job["queue"]
        line += f": number {place['place']} of {place['of']}. {place['reason']}"
    elif job["reason"]:
        line += f": {job['reason']}"
    elif job["progress_text"]:
        line += f": {job['progress_text']}"
    console.print(line)
    for each in job["inputs"]:
        console.print(f"{each['name']}: {each['filename']}")


def _named(path: str, wanted: list[str]) -> bool:
    return not wanted or any(path == w or path.startswith(w.rstrip("/") + "/") for w in wanted)


def _inside(folder: Path, path: str) -> Path:
    """A place below the folder, whatever a server calls its files."""
    place = folder / path
    if not place.resolve().is_relative_to(folder.resolve()):
        raise OSError(f"Expected a path below {folder}; the server says {path!r}.")
    return place


def _compare(place: Path, sha256: str) -> None:
    import hashlib

    with open(place, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        place.unlink()
        raise OSError(f"Expected {place} with SHA-256 {sha256}; got {found}. Download it again.")


COMMANDS = (login, upload, submit, status, logs, cancel, download)
