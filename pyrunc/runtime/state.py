"""The state of a container, as documents: what `state` and `list` print, and what hooks get."""

from __future__ import annotations

from pyrunc.linux.cgroups.freezer import is_frozen
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SPEC_VERSION = "1.3.0"


def status_of(state_root: str, state: store.State) -> str:
    """One of lifecycle's words, by what the kernel says now."""
    return store.read_status(state_root, state, is_frozen)


def document(state: store.State, status: str) -> dict[str, Any]:
    """The form of `runc state`: two members more than the specification, and `created`, `owner`."""
    found: dict[str, Any] = {
        "ociVersion": state.oci_version,
        "id": state.id,
        "pid": 0 if status == STOPPED else state.pid,
        "status": status,
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created,
    }
    if state.annotations:
        found["annotations"] = dict(state.annotations)
    found["owner"] = ""
    return found


def hook_document(state: store.State, status: str) -> dict[str, Any]:
    """The specification's own state (runtime.md, State), for a hook's stdin."""
    found: dict[str, Any] = {"ociVersion": state.oci_version, "id": state.id, "status": status}
    if state.pid and status != STOPPED:
        found["pid"] = state.pid
    found["bundle"] = state.bundle
    if state.annotations:
        found["annotations"] = dict(state.annotations)
    return found


def describe(state_root: str, container_id: str) -> dict[str, Any]:
    """What `pyrunc state` prints. Raises PyruncError NOT_FOUND."""
    state = store.load(state_root, container_id)
    return document(state, status_of(state_root, state))
