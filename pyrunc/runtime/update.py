"""update: other limits for a container that is there."""

from __future__ import annotations

import posix

from pyrunc import log
from pyrunc.linux.apply import Host, apply, no_state
from pyrunc.linux.cgroups.files import read_existing
from pyrunc.linux.facts import probe
from pyrunc.oci.config import parse_config
from pyrunc.oci.rare import IntelRdt
from pyrunc.oci.validate import parse_valid_resources
from pyrunc.plan.cgroup_update import files_to_read, plan_update
from pyrunc.record import replaced
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import require
from pyrunc.runtime.rulefacts import rule_facts
from pyrunc.runtime.state import status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op


def update(
    state_root: str, container_id: str, document: dict[str, Any], schemas: tuple[str, ...] = ()
) -> None:
    """`document` is a resources object of the specification; `schemas` are lines for resctrl. Raises
    PyruncError; what was written before an error stays, as the kernel has it."""
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
        if schemas:
            _update_resctrl(state_root, state, schemas)
    finally:
        posix.close(lock)


def _update_resctrl(state_root: str, state: store.State, schemas: tuple[str, ...]) -> None:
    """A class that is new is known to be the container's before it is made."""
    planner: Any = __import__("pyrunc.plan.intelrdt", fromlist=("",))
    resctrl: Any = __import__("pyrunc.linux.intelrdt", fromlist=("",))
    rdt = parse_config(store.read_config(state_root, state.id)).linux.intel_rdt
    if rdt is None and state.resctrl_groups:
        rdt = IntelRdt()  # one that an earlier update has made
    plan = planner.plan_rdt_update(rdt, schemas, container_id=state.id, mountpoint=resctrl.read_mountpoint())
    if plan.owned:
        store.save(state_root, replaced(state, resctrl_groups=plan.owned))
    host = Host(state.bundle, no_state)
    host.pid = state.pid
    for op in plan.attach:
        apply(op, host)


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
