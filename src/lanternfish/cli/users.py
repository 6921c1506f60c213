"""`lanternfish user`: the people of a laboratory's server, from its own terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lanternfish.cli.console import Mistake, ending, say

app = typer.Typer(help="People of a laboratory's server.", no_args_is_help=True)
Config = Annotated[Path, typer.Option(metavar="FILE.toml", help="Configuration of the server.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name to sign in with.")],
    config: Config = Path("lab.toml"),
    admin: Annotated[bool, typer.Option("--admin", help="An administrator.")] = False,
    group: Annotated[
        str, typer.Option(metavar="GROUP", help="Make the user an owner of this group.")
    ] = "",
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="E-mail address.")] = "",
    debug: Debug = False,
) -> None:
    """Make a user: the first administrator, or anybody without an invitation.

    The password is asked for, or comes from standard input.

    Examples:

      lanternfish user add olga --admin --group "Crab lab" --config lab.toml
    """
    with ending(debug):
        from lanternfish.service import store as st
        from lanternfish.service.server.passwords import complaint, hashed

        store, password = _opened(config), _password()
        try:
            if problem := complaint(password, name):
                raise Mistake(problem)
            fields = {"password_hash": hashed(password), "email": email or None, "admin": admin}
            user = st.create_user(store, name, **fields)
            if group:
                _own(store, user.id, group)
            st.record(store, "make user", object=name, address="terminal")
        except st.StoreError as error:
            raise Mistake(str(error)) from None
        finally:
            store.close()
        say(f"{name} can sign in now.")


def _opened(config: Path):
    from lanternfish.service import store as st
    from lanternfish.service.server import read_configuration

    try:
        made = read_configuration(config)
        return st.open(made.database, made.folder, blobs=made.blobs)
    except (OSError, ValueError, st.StoreError) as error:
        raise Mistake(str(error)) from None


def _password() -> str:
    if sys.stdin.isatty():
        return typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return sys.stdin.readline().rstrip("\n")


def _own(store, user: str, name: str) -> None:
    from lanternfish.service import store as st

    known = {row.name: row.id for row in st.list_groups(store)}
    if name in known:
        st.set_member(store, user, known[name], "owner")
    else:
        st.create_group(store, name, owner=user)
