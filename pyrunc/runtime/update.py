"""update: other limits for a container that is there."""

from __future__ import annotations

import posix

from pyrunc import log
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
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op


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
        writes, warnings = plan_update(resources, facts.cgroups, state.cgroup_paths, current)
        log.warn_of_ignored(warnings)
        host = Host(state.bundle, no_state)
        for op in (*_plan_unit(state, writes, current, is_v2=facts.cgroups.is_v2), *writes):
            apply(op, host)
    finally:
        posix.close(lock)


def _plan_unit(
    state: store.State, writes: tuple[Op, ...], current: Mapping[str, str], *, is_v2: bool
) -> tuple[Op, ...]:
    """systemd has to know too, or it writes the old limits again some day."""
    if not state.systemd_unit:
        return ()
    planner: Any = __import__("pyrunc.plan.systemd", fromlist=("",))
    manager: Any = __import__("pyrunc.linux.cgroups.systemd", fromlist=("",))
    facts = manager.probe(is_user=state.is_user_unit, weighs_io=planner.weighs_io(writes))
    first: tuple[Op, ...] = planner.plan_unit_update(
        writes, current, unit=state.systemd_unit, is_v2=is_v2, systemd=facts
    )
    return first
