"""The state of a container as JSON: for `state` and `list`, and for hooks on their standard input.

runc's order of keys, for people; callers read id, pid, status and bundle.
"""

from __future__ import annotations

from time import gmtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

OCI_VERSION = "1.3.0"  # of runtime-spec: what we implement, whatever config.json says
CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"


def make_state(
    *,
    id: str,
    pid: int,
    status: str,
    bundle: str,
    rootfs: str,
    created: str,
    annotations: Mapping[str, str],
    owner: str = "",
) -> dict[str, Any]:
    """What `state` prints. `pid` is 0 once it has stopped, `owner` empty if nobody looked the name up."""
    state: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "id": id,
        "pid": pid,
        "status": status,
        "bundle": bundle,
        "rootfs": rootfs,
        "created": created,
    }
    if annotations:
        state["annotations"] = dict(annotations)
    state["owner"] = owner
    return state


def make_hook_state(
    *, id: str, status: str, pid: int, bundle: str, annotations: Mapping[str, str]
) -> dict[str, Any]:
    """What runtime.md, "State", describes: for hooks and seccomp agents. Without a pid there is none in it:
    a hook that reads 0 and signals it would signal its own group."""
    state: dict[str, Any] = {"ociVersion": OCI_VERSION, "id": id, "status": status}
    if pid:
        state["pid"] = pid
    state["bundle"] = bundle
    if annotations:
        state["annotations"] = dict(annotations)
    return state


def format_time(nanoseconds: int) -> str:
    """A time since the epoch as RFC 3339 with nanoseconds, as Go prints it: in UTC, and without zeros at the
    end of the fraction."""
    year, month, day, hour, minute, second, *_ = gmtime(nanoseconds // 1_000_000_000)
    fraction = f".{nanoseconds % 1_000_000_000:09}".rstrip("0").rstrip(".")
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"
