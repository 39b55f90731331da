"""Intel RDT: directories of resctrl, made, filled and removed."""

from __future__ import annotations

import posix
from errno import EEXIST, EINVAL, ENOENT

from pyrunc.errors import CONFLICT, INVALID, PyruncError
from pyrunc.kernel.procfs import parse_mountinfo, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.rareops import EnterResctrl, MakeResctrl


def find_mountpoint(mountinfo: str) -> str:
    """Where resctrl is mounted; "" for nowhere."""
    for mount in parse_mountinfo("\n".join(line for line in mountinfo.splitlines() if "resctrl" in line)):
        if mount.fstype == "resctrl":
            return mount.mountpoint
    return ""


def read_mountpoint() -> str:
    return find_mountpoint(read_text("/proc/self/mountinfo"))


def make_group(op: MakeResctrl) -> bool:
    """True if we made it. A class that others use as well keeps its schemata: it must have ours already."""
    is_new = _make_directory(op)
    try:
        if op.is_shared and not is_new:
            _require_same(op)
        else:
            for line in op.lines:
                _write_schema(op, line)
    except BaseException:
        if is_new:
            posix.rmdir(op.path)
        raise
    return is_new


def _make_directory(op: MakeResctrl) -> bool:
    if op.must_exist:
        try:
            posix.stat(op.path)
        except OSError as error:
            why = "the class isn't there, and no schema says what it should be"
            raise PyruncError(INVALID, op.describe(), f"{op.origin}/closID", why) from error
        return False
    try:
        posix.mkdir(op.path, 0o755)
    except OSError as error:
        if error.errno == EEXIST:
            return False
        raise
    return True


def _write_schema(op: MakeResctrl, line: str) -> None:
    """The kernel says in a file what it doesn't like."""
    try:
        _write(f"{op.path}/schemata", line + "\n")
    except OSError as error:
        if error.errno != EINVAL:
            raise
        why = _read_if_there(op.status).strip() or "the kernel refuses it"
        raise PyruncError(
            INVALID, f'failed to write "{line}" to {op.path}/schemata', op.origin, why
        ) from error


def _require_same(op: MakeResctrl) -> None:
    there = parse_schemata(read_text(f"{op.path}/schemata").splitlines())
    for key, value in parse_schemata(op.lines).items():
        if there.get(key) != value:
            name, domain = key
            why = f"{name} of domain {domain} is {there.get(key, 'not there')}, not {value}"
            raise PyruncError(CONFLICT, f"class {op.path} has another schema", op.origin, why)


def parse_schemata(lines: tuple[str, ...] | list[str]) -> dict[tuple[str, str], str]:
    """`L3:0=ff;1=0f` -> {("L3", "0"): "ff", ("L3", "1"): "f"}: numbers without their leading zeros."""
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        for part in rest.split(";"):
            domain, _, value = part.partition("=")
            if domain.strip():
                found[name.strip(), domain.strip().lstrip("0") or "0"] = (
                    value.strip().lower().lstrip("0") or "0"
                )
    return found


def enter_group(op: EnterResctrl, pid: int) -> None:
    _write(f"{op.path}/tasks", str(pid))


def remove_groups(paths: tuple[str, ...]) -> None:
    """What is gone already is as well; of the rest, all that can be."""
    failure: PyruncError | None = None
    for path in paths:
        try:
            posix.rmdir(path)
        except OSError as error:
            if error.errno != ENOENT:
                what = "unable to remove resctrl group"
                failure = failure or PyruncError.from_errno(error.errno or 0, what, path)
    if failure is not None:
        raise failure


def _write(path: str, text: str) -> None:
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    finally:
        posix.close(fd)


def _read_if_there(path: str) -> str:
    try:
        return read_text(path)
    except OSError:
        return ""
