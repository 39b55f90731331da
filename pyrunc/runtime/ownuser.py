"""The user namespace that a container of an ordinary user gets when its config.json asks for none.

Without one nothing could be made at all. As with crun: root inside is the user himself, and the ids after
that are those which /etc/subuid and /etc/subgid grant him, if they do: subuid(5).
"""

from __future__ import annotations

import posix

from pyrunc.files import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def with_user_namespace(document: Any, uid: int, gid: int) -> Any:
    """A copy of the document with the namespace and its mappings; the same one if it asks for one itself, or
    is no document that could."""
    linux = document.get("linux") if type(document) is dict else None
    entries = linux.get("namespaces") if type(linux) is dict else None
    if type(linux) is not dict or type(entries) is not list:
        return document
    if any(type(item) is dict and item.get("type") == "user" for item in entries):
        return document
    if linux.get("uidMappings") or linux.get("gidMappings"):
        return document  # mappings without a namespace are an error, for everybody
    name = _name_of(uid)
    gids = _mappings(gid, granted("/etc/subgid", uid, name))
    more = {
        "namespaces": [*entries, {"type": "user"}],
        "uidMappings": _mappings(uid, granted("/etc/subuid", uid, name)),
        "gidMappings": gids,
    }
    changed = {**document, "linux": {**linux, **more}}
    if type(document.get("mounts")) is list:
        known = sum(item["size"] for item in gids)
        changed["mounts"] = [_without_group(mount, known) for mount in document["mounts"]]
    return changed


def _without_group(mount: Any, known: int) -> Any:
    """Terminals usually belong to group 5. Where there is none, to nobody's in particular."""
    options = mount.get("options") if type(mount) is dict and mount.get("type") == "devpts" else None
    if type(options) is not list:
        return mount
    return {**mount, "options": [item for item in options if not _is_foreign_group(item, known)]}


def _is_foreign_group(option: Any, known: int) -> bool:
    if type(option) is not str or not option.startswith("gid="):
        return False
    number = option.removeprefix("gid=")
    return number.isdigit() and int(number) >= known


def _mappings(own: int, ranges: list[tuple[int, int]]) -> list[dict[str, int]]:
    found = [{"containerID": 0, "hostID": own, "size": 1}]
    inside = 1
    for first, size in ranges:
        found.append({"containerID": inside, "hostID": first, "size": size})
        inside += size
    return found


def _name_of(uid: int) -> str:
    """By /etc/passwd alone: a directory service is no matter for a runtime."""
    for line in _lines("/etc/passwd"):
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[0]
    return ""


def granted(path: str, uid: int, name: str) -> list[tuple[int, int]]:
    """(first id, how many) of each range that the file at `path` grants; none without the programs which may
    make use of them."""
    if not posix.access("/usr/bin/newuidmap", posix.X_OK):
        return []
    found = []
    for line in _lines(path):
        fields = line.split(":")
        if len(fields) == 3 and fields[0] in (str(uid), name) and fields[1].isdigit() and fields[2].isdigit():
            found.append((int(fields[1]), int(fields[2])))
    return found


def _lines(path: str) -> list[str]:
    try:
        return read_whole(path).decode(errors="replace").splitlines()
    except OSError:
        return []
