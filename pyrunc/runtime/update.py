"""update: other limits for a container that is there."""

from __future__ import annotations

import posix

from pyrunc.linux.apply import Host, apply, no_state
from pyrunc.linux.cgroups.files import read_existing
from pyrunc.linux.facts import probe
from pyrunc.oci.validate import parse_valid_resources
from pyrunc.plan.cgroup_update import files_to_read, plan_update
from pyrunc.runtime import store
from pyrunc.runtime.bundle import rule_facts
from pyrunc.runtime.lifecycle import require
from pyrunc.runtime.state import status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def update(state_root: str, container_id: str, document: dict[str, Any]) -> None:
    """`document` is a resources object of the specification. Raises PyruncError; what was written before an
    error stays, as the kernel has it."""
    state = store.load(state_root, container_id)
    facts = probe()
    resources = parse_valid_resources(document, rule_facts(facts))
    lock = store.lock(state_root, container_id)
    try:
        require("update", container_id, status_of(state_root, state))
        current = read_existing(files_to_read(resources, state.cgroup_paths))
        host = Host(state.bundle, no_state)
        for op in plan_update(resources, facts.cgroups, state.cgroup_paths, current):
            apply(op, host)
    finally:
        posix.close(lock)
