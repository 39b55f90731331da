"""pyr pull, push, save, load, import: images that come and go."""

from __future__ import annotations

import posix

from pyrunc.docker.credentials import auth_header
from pyrunc.docker.filters import qualify, split_reference
from pyrunc.docker.output import emit_bytes, is_terminal, line
from pyrunc.docker.progress import show_progress
from pyrunc.docker.words import Verb
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import absolute, write_all
from pyrunc.options import TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

_PIECE_BYTES = 256 << 10
_PLATFORM = Flag(name="platform", kind=TEXT, summary="os/arch[/variant].")
_QUIET = Flag(name="quiet", short="q", summary="No progress.")
_ALL_TAGS = Flag(name="all-tags", short="a", summary="All tags of the repository.")

PULL = Verb(name="pull", summary="Get an image from a registry.", usage="[OPTIONS] NAME[:TAG|@DIGEST]",
            flags=(_ALL_TAGS, _PLATFORM, _QUIET), least=1, most=1)  # fmt: skip
PUSH = Verb(name="push", summary="Give an image to a registry.", usage="[OPTIONS] NAME[:TAG]",
            flags=(_ALL_TAGS, _PLATFORM, _QUIET), least=1, most=1)  # fmt: skip
SAVE = Verb(
    name="save",
    summary="Write images to a tar archive (stdout, if no file is named).",
    usage="[OPTIONS] IMAGE [IMAGE...]",
    flags=(
        Flag(name="output", short="o", kind=TEXT, placeholder="FILE", summary="Write to this file."),
        _PLATFORM,
    ),
    least=1,
    most=-1,
)
LOAD = Verb(
    name="load",
    summary="Read images from a tar archive (stdin, if no file is named).",
    usage="[OPTIONS]",
    flags=(Flag(name="input", short="i", kind=TEXT, placeholder="FILE", summary="Read this file."), _PLATFORM,
           _QUIET),
)  # fmt: skip
IMPORT = Verb(
    name="import",
    summary="Make an image of a tar archive of a file system.",
    usage="[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    flags=(
        Flag(name="change", short="c", kind=TEXTS, summary="An instruction of a Dockerfile: 'CMD [\"sh\"]'."),
        Flag(name="message", short="m", kind=TEXT, summary="A comment for its history."),
        _PLATFORM,
    ),
    least=1,
    most=2,
)


def pull(session: Session, given: Given) -> int:
    name = given["words"][0]
    if given["all-tags"] and split_reference(name)[1]:
        raise PyruncError(INVALID, "tag can't be used with --all-tags/-a")
    pull_one(session, name, platform=given["platform"], quiet=given["quiet"], every_tag=given["all-tags"])
    repository, tag = split_reference(name)
    sign = "@" if ":" in tag else ":"
    line(qualify(repository) + ("" if given["all-tags"] else f"{sign}{tag or 'latest'}"))
    return 0


def pull_one(
    session: Session,
    name: str,
    *,
    platform: str = "",
    quiet: bool = False,
    every_tag: bool = False,
    to: int = 1,
) -> None:
    """Raises PyruncError. Progress goes to the descriptor `to`."""
    repository, tag = split_reference(name)
    if not tag and not every_tag:
        tag = "latest"
        if not quiet:
            write_all(to, b"Using default tag: latest\n")
    query = {"fromImage": repository, "tag": tag or None, "platform": platform or None}
    headers = auth_header(session.configuration, name)
    with session.stream("POST", "/images/create", query=query, headers=headers) as answer:
        show_progress(answer.objects(), to, quiet=quiet)


def push(session: Session, given: Given) -> int:
    repository, tag = split_reference(given["words"][0])
    if given["all-tags"] and tag:
        raise PyruncError(INVALID, "tag can't be used with --all-tags/-a")
    if not tag and not given["all-tags"]:
        tag = "latest"
        if not given["quiet"]:
            line("Using default tag: latest")
    headers = auth_header(session.configuration, repository) or {"X-Registry-Auth": "e30="}
    query = {"tag": tag or None, "platform": given["platform"] or None}
    with session.stream("POST", f"/images/{repository}/push", query=query, headers=headers) as answer:
        show_progress(answer.objects(), quiet=given["quiet"])
    if given["quiet"]:
        line(f"{qualify(repository)}:{tag}")
    return 0


def save(session: Session, given: Given) -> int:
    """A file gets its name when it is whole."""
    path = given["output"]
    if not path and is_terminal(1):
        raise PyruncError(INVALID, "cowardly refusing to save to a terminal. Use the -o flag or redirect")
    query = {"names": given["words"], "platform": given["platform"] or None}
    with session.stream("GET", "/images/get", query=query) as answer:
        if path:
            write_file(path, answer.pieces())
        else:
            for piece in answer.pieces():
                emit_bytes(piece)
    return 0


def write_file(path: str, pieces: Iterator[bytes]) -> None:
    """What is no ordinary file (/dev/null, a pipe) is written to as it is. Raises PyruncError."""
    is_special = posix.access(path, posix.F_OK) and posix.stat(path).st_mode & 0o170000 != 0o100000
    aside = path if is_special else f"{path}.{posix.getpid()}"
    made = False
    flags = posix.O_WRONLY | posix.O_CLOEXEC | (0 if is_special else posix.O_CREAT | posix.O_EXCL)
    try:
        with doing("write", path):
            file = posix.open(aside, flags, 0o600)
            made = not is_special
            for piece in pieces:
                write_all(file, piece)
            posix.close(file)
            if made:
                posix.rename(aside, path)
    except BaseException:
        if made:
            posix.unlink(aside)
        raise


def read_file(path: str) -> Iterator[bytes]:
    """In pieces; "" or "-" is stdin. Raises PyruncError at once if it cannot be opened."""
    if path in ("", "-"):
        return _pieces(0)
    with doing("open", path):
        file = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    return _pieces(file)


def _pieces(file: int) -> Iterator[bytes]:
    while piece := posix.read(file, _PIECE_BYTES):
        yield piece


def load(session: Session, given: Given) -> int:
    if not given["input"] and is_terminal(0):
        raise PyruncError(INVALID, "requested load from stdin, but stdin is empty")
    query = {"quiet": given["quiet"] or not is_terminal(1), "platform": given["platform"] or None}
    data = read_file(given["input"])
    headers = {"Content-Type": "application/x-tar"}
    with session.stream("POST", "/images/load", query=query, data=data, headers=headers) as answer:
        show_progress(answer.objects())
    return 0


def import_(session: Session, given: Given) -> int:
    source = given["words"][0]
    repository, tag = split_reference(given["words"][1]) if len(given["words"]) > 1 else ("", "")
    is_url = "://" in source
    query = {
        "fromSrc": source if is_url else "-",
        "repo": repository or None,
        "tag": tag or None,
        "message": given["message"] or None,
        "changes": given["change"],
        "platform": given["platform"] or None,
    }
    data = None if is_url else read_file(source if source == "-" else absolute(source))
    with session.stream("POST", "/images/create", query=query, data=data) as answer:
        show_progress(answer.objects())
    return 0


COMMANDS = {
    "pull": (PULL, pull),
    "push": (PUSH, push),
    "save": (SAVE, save),
    "load": (LOAD, load),
    "import": (IMPORT, import_),
}
