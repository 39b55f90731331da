"""The `USER` of an image, looked up in the image's own /etc/passwd and /etc/group, read inside its root.

These files are the image's: as long as they like, and full of nonsense. A line that is none is read over.
"""

from __future__ import annotations

import posix

from pyrunc.engine.spec.facts import User
from pyrunc.errors import INVALID, PyruncError
from pyrunc.kernel.paths import open_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_FILE_LIMIT_BYTES = 4 << 20
_ID_LIMIT = (1 << 31) - 1


def read_inside(root_fd: int, path: str) -> str:
    """A small text file of the image; nothing if there is none."""
    try:
        fd = open_inside(root_fd, path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = b""
        while len(data) < _FILE_LIMIT_BYTES and (piece := posix.read(fd, 1 << 16)):
            data += piece
    except OSError:  # a directory, a broken device
        return ""
    finally:
        posix.close(fd)
    return data.decode("utf-8", "replace")


def _fields(text: str, count: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= count and not line.startswith("#"):
            yield fields


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None


def parse_user(text: str, added: Iterable[str], passwd: str, group: str) -> User:
    """`text`: NAME, UID, NAME:GROUP, UID:GID, nothing for root; `added`: --group-add. A user that is known
    has the groups that list it, as long as no group was asked for. The first is always `gid`: without it,
    a program that changes its group would be out of that one, and past what is denied to it
    (CVE-2022-36109). Raises PyruncError INVALID."""
    wanted, colon, wanted_group = text.partition(":")
    uid, gid, name = _find_user(wanted or "0", passwd)
    groups: list[int] = []
    if colon and wanted_group:
        gid = _find_group(wanted_group, group)
    elif name:
        groups = [
            number
            for fields in _fields(group, 4)
            if name in fields[3].split(",") and (number := _number(fields[2])) is not None
        ]
    groups += [_find_group(one, group) for one in added]
    return User(uid=uid, gid=gid, groups=tuple(dict.fromkeys((gid, *groups))))


def _find_user(wanted: str, passwd: str) -> tuple[int, int, str]:
    number = _number(wanted)
    for fields in _fields(passwd, 4):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None and (fields[0] == wanted or uid == number):
            return uid, gid, fields[0]
    if number is None:
        raise PyruncError(INVALID, f"unable to find user {wanted}: no matching entries in passwd file")
    return _checked(number), 0, ""


def _find_group(wanted: str, group: str) -> int:
    for fields in _fields(group, 3):
        number = _number(fields[2])
        if fields[0] == wanted and number is not None:
            return _checked(number)
    number = _number(wanted)
    if number is None:
        raise PyruncError(INVALID, f"unable to find group {wanted}: no matching entries in group file")
    return _checked(number)


def _checked(number: int) -> int:
    if number > _ID_LIMIT:
        raise PyruncError(INVALID, f"uids and gids must be in range 0-{_ID_LIMIT}", str(number))
    return number


def find_user(rootfs: str, text: str, added: Iterable[str] = ()) -> User:
    """Raises PyruncError INVALID, OSError if there is no `rootfs`."""
    root = posix.open(rootfs, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        return parse_user(text, added, read_inside(root, "/etc/passwd"), read_inside(root, "/etc/group"))
    finally:
        posix.close(root)
