"""pyrunc spec: write a config.json to start from."""

from __future__ import annotations

import posix

from pyrunc import jsonio
from pyrunc.cli.main import Settings
from pyrunc.errors import CONFLICT, PyruncError, doing
from pyrunc.files import absolute, write_atomically
from pyrunc.oci.default import default_document
from pyrunc.options import TEXT, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="spec",
    summary="Write a config.json to start from.",
    flags=(
        Flag(name="bundle", short="b", kind=TEXT, placeholder="DIR", summary="Write it there, not here."),
        Flag(name="rootless", summary="For a container that a user runs who isn't root."),
    ),
    examples=("pyrunc spec --bundle bundle/", "pyrunc spec --rootless"),
)
_UNIFIED = "/sys/fs/cgroup/cgroup.controllers"  # there only where cgroup v2 is all there is


def main(settings: Settings, given: dict[str, Any]) -> int:
    path = absolute(f"{given['bundle'] or '.'}/config.json")
    try:
        posix.lstat(path)
    except FileNotFoundError:
        pass
    else:
        raise PyruncError(CONFLICT, "File config.json exists. Remove it first", path)
    document = default_document(
        rootless=given["rootless"],
        uid=posix.geteuid(),
        gid=posix.getegid(),
        cgroup_v2=posix.access(_UNIFIED, posix.F_OK),
    )
    with doing("write", path):
        write_atomically(path, (jsonio.dumps(document, indent=4) + "\n").encode(), 0o666)
    return 0
