"""What a container is doing, by what the kernel says now, and the documents about it."""

from __future__ import annotations

from pyrunc.jsonio import dumps
from pyrunc.kernel.procfs import inner_pid
from pyrunc.linux.cgroups.files import is_frozen
from pyrunc.oci.state import make_hook_state, make_state
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def cgroup_tools(name: str) -> Any:
    """A module of linux.cgroups which the plain case doesn't need: `freezer`, `processes`."""
    return __import__(f"pyrunc.linux.cgroups.{name}", fromlist=("",))


def status_of(state_root: str, state: store.State) -> str:
    """One of lifecycle's words."""
    return store.read_status(state_root, state, is_frozen)


def describe(state_root: str, container_id: str) -> dict[str, Any]:
    """What `pyrunc state` prints. Raises PyruncError NOT_FOUND."""
    state = store.load(state_root, container_id)
    return document(state, status_of(state_root, state))


def document(state: store.State, status: str, owner: str = "") -> dict[str, Any]:
    return make_state(
        id=state.id,
        pid=0 if status == STOPPED else state.pid,
        status=status,
        bundle=state.bundle,
        rootfs=state.rootfs,
        created=state.created,
        annotations=dict(state.annotations),
        owner=owner,
    )


def hook_text(state: store.State, status: str, *, is_inside: bool = False) -> bytes:
    """The state as the specification has it, for a hook's stdin. Its pid is the one that the hook sees: that
    of the container's own pid namespace for one which runs `is_inside` (runtime.md, State)."""
    found = make_hook_state(
        id=state.id,
        status=status,
        pid=0 if status == STOPPED else (inner_pid(state.pid) if is_inside else state.pid),
        bundle=state.bundle,
        annotations=dict(state.annotations),
    )
    return dumps(found).encode("utf-8", "surrogateescape")
