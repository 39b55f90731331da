"""list: the state of every container of a state root."""

from __future__ import annotations

from pyrunc.errors import PyruncError
from pyrunc.files import read_whole
from pyrunc.runtime import store
from pyrunc.runtime.state import document, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def list_containers(state_root: str) -> tuple[list[dict[str, Any]], list[str]]:
    """(documents with the owner's name, warnings): what a crash left half-made is a warning, not a failure.

    A state root that isn't there holds nothing.
    """
    found: list[dict[str, Any]] = []
    warnings: list[str] = []
    try:
        names = store.names(state_root)
    except FileNotFoundError:
        return found, warnings
    users = _user_names()
    for name in names:
        try:
            state = store.load(state_root, name)
            owner = users.get(state.owner_uid, f"#{state.owner_uid}")
            entry = document(state, status_of(state_root, state), owner)
        except PyruncError as error:
            warnings.append(f"load container {name}: {error}")
            continue
        found.append(entry)
    return found, warnings


def _user_names() -> dict[int, str]:
    """Of the host's /etc/passwd. Other sources of users (NSS) would load libraries for a column of text."""
    try:
        text = read_whole("/etc/passwd").decode("utf-8", "surrogateescape")
    except OSError:
        return {}
    users: dict[int, str] = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            users.setdefault(int(fields[2]), fields[0])
    return users
