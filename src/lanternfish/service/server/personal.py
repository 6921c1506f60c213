"""A personal server: one owner, no accounts; the owner comes in by a link that works once.

The link is printed in the owner's terminal, and a token lies in a file that only the owner may
read, so that other users of the machine, who can reach the port too, stay outside.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from lanternfish.service import store as st
from lanternfish.service.store import Store

TOKEN_FILE = "token"
GROUP = "My analyses"


def ensure_owner(store: Store) -> str:
    """The one user (an administrator) and their group; returns the user's id."""
    found = st.list_users(store)
    if found:
        owner = next((user for user in found if user.admin), found[0])
        return owner.id
    user = st.create_user(store, _name(), admin=True)
    st.create_group(store, GROUP, owner=user.id)
    return user.id


def _name() -> str:
    try:
        return getpass.getuser() or "me"
    except (KeyError, OSError):
        return "me"


def token_path(folder: Path) -> Path:
    """The file of the owner's token, readable by the owner only."""
    return folder / TOKEN_FILE


def ensure_token(store: Store, owner: str, folder: Path) -> str:
    """The owner's token for the command line, made anew where the file's does not hold."""
    path = token_path(folder)
    if path.exists():
        secret = path.read_text().strip()
        row = st.find_token(store, secret)
        if row is not None and row.user_id == owner:
            return secret
    secret, _ = st.create_token(store, owner, "this machine")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(secret + "\n")
    return secret
