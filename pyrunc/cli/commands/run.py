"""pyrunc run: create, start and, unless detached, wait and delete: the container's exit code is ours."""

from __future__ import annotations

import posix

from pyrunc.cli.commands import create
from pyrunc.cli.main import Settings, emit, load
from pyrunc.errors import CONFLICT, PyruncError
from pyrunc.files import absolute
from pyrunc.options import Command, Flag, Operand, UsageError
from pyrunc.runtime.run import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="run",
    summary="Create and start a container, wait for it and remove it.",
    description="Instead of a name a bundle's path will do, and the container is named after it. "
    "The exit code is the container's: 128 and the signal's number if one ended it.",
    flags=(
        *create.FLAGS,
        *create.SHIM_FLAGS,
        Flag(name="detach", short="d", summary="Don't wait: leave it running."),
        Flag(name="keep", summary="Don't remove it when it ends."),
        Flag(name="no-subreaper", summary="Don't adopt processes that the container leaves behind."),
    ),
    operands=(Operand(name="container", completes="file"),),
    examples=("pyrunc run bundle/", "pyrunc run --bundle bundle/ web", "pyrunc run --detach bundle/"),
    failure="pyrunc run failed",
)
_NAME_IS_TAKEN = "container with given ID already exists"
_NAME_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-"


def main(settings: Settings, given: dict[str, Any]) -> int:
    if not _is_bundle(given):
        return _run(settings, given)
    name = name_after(absolute(given["container"]))
    given = {**given, "bundle": given["container"]}
    for candidate in (name, *(f"{name}-{number}" for number in range(2, 1000))):
        try:
            code = _run(settings, {**given, "container": candidate})
        except PyruncError as error:
            if error.what != _NAME_IS_TAKEN:
                raise
            continue
        if given["detach"]:
            emit(candidate + "\n")
        return code
    raise PyruncError(CONFLICT, "there are too many containers of this bundle", name)


def _run(settings: Settings, given: dict[str, Any]) -> int:
    if given["shim"]:
        if not given["detach"]:
            raise UsageError("--shim is for containers that are left alone: add --detach")
        load("pyrunc.cli.shims").launch(settings, given, starts=True)
        return 0
    request = create.request_of(settings, given)
    return run(request, detach=given["detach"], keep=given["keep"], subreaper=not given["no-subreaper"])


def _is_bundle(given: dict[str, Any]) -> bool:
    """A path can't be a name. A name may be a directory's too; inside a bundle it is a name, as for runc."""
    word = given["container"]
    if given["bundle"]:
        return False
    if "/" in word or word in (".", ".."):
        return True
    return posix.access(f"{word}/config.json", posix.F_OK) and not posix.access("config.json", posix.F_OK)


def name_after(path: str) -> str:
    """A container's name made of the last part of a path."""
    letters = (letter if letter in _NAME_LETTERS else "-" for letter in path.rpartition("/")[2])
    return "".join(letters).lstrip(".-") or "container"
