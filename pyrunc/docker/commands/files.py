"""pyr cp, export: files that go into a container and come out of it."""

from __future__ import annotations

import base64
import os
import stat
import sys

from pyrunc import jsonio
from pyrunc.docker.archives import pack, unpack
from pyrunc.docker.commands.transfers import read_file, write_file
from pyrunc.docker.output import complain, emit_bytes, is_terminal
from pyrunc.docker.units import human_size
from pyrunc.docker.words import Verb
from pyrunc.errors import INVALID, NOT_FOUND, PyruncError
from pyrunc.options import TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

CP = Verb(
    name="cp",
    summary="Copy files into a container, or out of one.",
    usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tpyr cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    least=2,
    most=2,
    flags=(
        Flag(name="archive", short="a", summary="Keep owners."),
        Flag(name="follow-link", short="L", summary="A link as the source: what it leads to."),
        Flag(name="quiet", short="q", summary="No line about it."),
    ),
)
EXPORT = Verb(
    name="export",
    summary="Write a container's file system to a tar archive.",
    usage="[OPTIONS] CONTAINER",
    least=1,
    most=1,
    flags=(Flag(name="output", short="o", kind=TEXT, placeholder="FILE", summary="Write to this file."),),
)
_GO_DIRECTORY, _GO_LINK = 1 << 31, 1 << 27


def split(word: str) -> tuple[str, str]:
    """(container, path); no container for a path of ours, which has a slash before its colon, if any."""
    name, colon, path = word.partition(":")
    if not colon or "/" in name or name.startswith(".") or not name:
        return "", word
    return name, path


def cp(session: Session, given: Given) -> int:
    (from_name, source), (to_name, target) = map(split, given["words"])
    if from_name and to_name:
        raise PyruncError(INVALID, "copying between containers is not supported")
    if not from_name and not to_name:
        raise PyruncError(INVALID, "must specify at least one container source")
    if not (source and target):
        raise PyruncError(INVALID, "source and destination must not be empty")
    if from_name:
        total = _out(session, given, from_name, source, target)
        where = target
    else:
        total = _into(session, given, source, to_name, target)
        where = f"{to_name}:{target}"
    if not given["quiet"] and total >= 0:
        complain(f"Successfully copied {human_size(total)} to {where}")
    return 0


# --- out of a container ------------------------------------------------------------------------------


def _out(session: Session, given: Given, container: str, source: str, target: str) -> int:
    path = f"/containers/{container}/archive"
    if given["follow-link"]:
        found = _stat(session, path, source)
        if found is not None and found["mode"] & _GO_LINK:
            source = _beside(source, found["linkTarget"])
    with session.stream("GET", path, query={"path": source}) as answer:
        if target == "-":
            if is_terminal(1):
                raise PyruncError(INVALID, "refusing to write an archive to a terminal")
            for piece in answer.pieces():
                emit_bytes(piece)
            return -1
        found = _decode_stat(answer.head.header("x-docker-container-path-stat"))
        directory, name = _place(source, target, bool(found["mode"] & _GO_DIRECTORY))
        stream: Any = answer  # it has a file's `read`
        return unpack(stream, directory, _renamer(found["name"], name), keeps_owner=given["archive"])


def _place(source: str, target: str, is_directory: bool) -> tuple[str, str]:
    """(directory of ours that is there, the name in it): "" as the name means: what is in the source goes
    right into the directory."""
    takes_content = source.endswith("/.") or source == "."
    if os.path.isdir(target):
        return target, "" if takes_content else os.path.basename(source.rstrip("/")) or ""
    if os.path.lexists(target):
        if is_directory:
            raise PyruncError(INVALID, "cannot copy directory", target, "there is a file of that name")
    elif target.endswith("/") and not is_directory:
        raise PyruncError(NOT_FOUND, "no such directory", target)
    directory, name = os.path.split(target.rstrip("/"))
    if not os.path.isdir(directory or "."):
        raise PyruncError(NOT_FOUND, "no such directory", directory)
    return directory or ".", name


def _renamer(old: str, new: str) -> Any:
    """The archive's first part is the source's name; it becomes `new`."""

    def rename(name: str) -> str:
        parts = name.lstrip("/").split("/")
        while parts and parts[0] == ".":
            parts.pop(0)
        if parts and parts[0] == old:
            parts.pop(0)
        return "/".join([new, *parts])

    return rename


def _decode_stat(text: str) -> dict[str, Any]:
    return dict(jsonio.loads(base64.b64decode(text), "stat"))


def _stat(session: Session, path: str, name: str) -> dict[str, Any] | None:
    """None: there is none."""
    try:
        with session.stream("HEAD", path, query={"path": name}) as answer:
            return _decode_stat(answer.head.header("x-docker-container-path-stat"))
    except PyruncError as error:
        if error.kind != NOT_FOUND:
            raise
        return None


def _beside(path: str, link: str) -> str:
    return link if link.startswith("/") else os.path.join(os.path.dirname(path), link)


# --- into a container --------------------------------------------------------------------------------


def _into(session: Session, given: Given, source: str, container: str, target: str) -> int:
    path = f"/containers/{container}/archive"
    if not target.startswith("/"):
        target = f"/{target}"
    found = _stat(session, path, target)
    if found is not None and found["mode"] & _GO_LINK:
        target = _beside(target, found["linkTarget"])
        found = _stat(session, path, target)
    is_directory = found is not None and bool(found["mode"] & _GO_DIRECTORY)
    if source == "-":
        if not is_directory:
            raise PyruncError(INVALID, f'destination "{container}:{target}" must be a directory')
        counted = _Counted(read_file("-"))
        directory = target
    else:
        directory, name = _target(source, target, found is not None, is_directory, given["follow-link"])
        counted = _Counted(pack(source, name, follows=given["follow-link"] or source.endswith("/")))
    query = {"path": directory, "noOverwriteDirNonDir": "true", "copyUIDGID": given["archive"]}
    headers = {"Content-Type": "application/x-tar"}
    with session.stream("PUT", path, query=query, data=counted, headers=headers) as answer:
        answer.read()
    return counted.total


def _target(source: str, target: str, is_there: bool, is_directory: bool, follows: bool) -> tuple[str, str]:
    """(directory in the container, the name that the source gets there)"""
    try:
        mode = (os.stat if follows or source.endswith("/") else os.lstat)(source).st_mode
    except OSError as error:
        raise PyruncError(NOT_FOUND, "no such file or directory", source, error.strerror or "") from None
    if is_directory:
        takes_content = source.endswith("/.") or source == "."
        return target, "." if takes_content else os.path.basename(os.path.abspath(source))
    if stat.S_ISDIR(mode) and is_there:
        raise PyruncError(INVALID, "cannot copy directory", target, "there is a file of that name")
    if target.endswith("/") and not stat.S_ISDIR(mode):
        raise PyruncError(NOT_FOUND, "no such directory", target)
    directory, name = os.path.split(target.rstrip("/"))
    return directory or "/", name


class _Counted:
    """An archive in pieces, and how long it was."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.total = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.total += len(piece)
            yield piece


def export(session: Session, given: Given) -> int:
    if not given["output"] and is_terminal(sys.stdout.fileno()):
        raise PyruncError(INVALID, "cowardly refusing to save to a terminal. Use the -o flag or redirect")
    with session.stream("GET", f"/containers/{given['words'][0]}/export") as answer:
        if given["output"]:
            write_file(given["output"], answer.pieces())
        else:
            for piece in answer.pieces():
                emit_bytes(piece)
    return 0


COMMANDS = {"cp": (CP, cp), "export": (EXPORT, export)}
