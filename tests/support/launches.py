"""Whole launches, planned for hosts that need not exist, and as text, a line for each operation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from pyrunc.oci.config import parse_config
from pyrunc.plan.cgroups import plan_cgroup
from pyrunc.plan.facts import CgroupLayout, Hierarchy, HostFacts
from pyrunc.plan.launch import LaunchRequest, plan_launch
from pyrunc.plan.ops import Op
from pyrunc.plan.shared import Launch
from pyrunc.plan.stub import FilterProgram, Scratch, StubCall, Text
from pyrunc.record import Record

HYBRID = CgroupLayout(
    hierarchies=(
        Hierarchy(controllers=("cpu", "cpuacct"), mountpoint="/sys/fs/cgroup/cpu,cpuacct"),
        Hierarchy(controllers=("memory",), mountpoint="/sys/fs/cgroup/memory"),
        Hierarchy(controllers=("devices",), mountpoint="/sys/fs/cgroup/devices"),
        Hierarchy(controllers=("name=systemd",), mountpoint="/sys/fs/cgroup/systemd", own_path="/me"),
    ),
    unified_mountpoint="/sys/fs/cgroup/unified",
)
V2 = CgroupLayout(
    unified_mountpoint="/sys/fs/cgroup",
    unified_own_path="/user.slice/me.scope",
    unified_controllers=("cpuset", "cpu", "io", "memory", "pids"),
)
ON_HYBRID = HostFacts(cgroups=HYBRID, has_kcore=True)
ON_V2 = HostFacts(cgroups=V2, has_kcore=True)
UNPRIVILEGED = HostFacts(cgroups=V2, uid=1000, gid=1000, capability_mask=0)
NO_CGROUPS = HostFacts()

# Places in the stub, and programs: what they are is the business of other tests.
_LEFT_OUT = ("addresses", "slot", "text_at", "pointer_at", "pointer", "program", "origin")


def plan(document: dict[str, Any], facts: HostFacts = ON_HYBRID, **request: Any) -> Launch:
    config = parse_config(document)
    cgroup = plan_cgroup(
        config=config,
        container_id="box",
        layout=facts.cgroups,
        in_user_namespace=facts.in_user_namespace,
        rootless=facts.uid != 0,
    )
    asked = {"container_id": "box", "bundle": "/bundle", "rootfs": "/bundle/rootfs", **request}
    return plan_launch(config, facts, cgroup, LaunchRequest(**asked))


def as_text(launch: Launch) -> str:
    """Only fields that differ from their defaults; JSON pointers at the end."""
    parts = [f"clone flags {launch.clone_flags:#x}", f"terminal {launch.has_terminal}"]
    for name in ("prepare", "stage", "attach", "child"):
        parts += ["", f"{name}:", *(_op(op) for op in getattr(launch, name))]
    parts += ["", "stub:", *_calls(launch.calls), f"  execve {launch.program}", ""]
    return "\n".join(parts)


def _op(op: Op) -> str:
    fields = ", ".join(f"{name}={_value(name, value)}" for name, value in _told(op))
    return f"  {type(op).__name__}({fields}){_origin(op.origin)}"


def _told(op: Record) -> Iterator[tuple[str, Any]]:
    for name, value in ((name, getattr(op, name)) for name in op.FIELDS):
        if name in _LEFT_OUT or (hasattr(type(op), name) and value == getattr(type(op), name)):
            continue
        yield name, value


def _value(name: str, value: Any) -> str:
    if name == "mode":
        return f"{value:#o}"
    return f"{value:#x}" if name.endswith("flags") or name == "propagation" else repr(value)


def _origin(origin: str) -> str:
    return f"  {origin}" if origin else ""


def _calls(calls: tuple[StubCall, ...]) -> Iterator[str]:
    """Calls that differ in one number, the last argument, share a line."""
    for (name, args, ignore, late, origin), group in itertools.groupby(calls, _but_the_last):
        last = " ".join(_argument(call.args[-1]) for call in group if call.args)
        words = ", ".join((*(_argument(item) for item in args), last))
        how = " or go on" * ignore + " late" * late
        yield f"  {name}({words}){how}{_origin(origin)}"


def _but_the_last(call: StubCall) -> tuple[Any, ...]:
    return call.call, call.args[:-1], call.ignore, call.late, call.origin


def _argument(item: object) -> str:
    if isinstance(item, Text):
        return item.data.hex(" ", 4) or "empty"
    if isinstance(item, FilterProgram):
        return "<program>"
    return "<scratch>" if isinstance(item, Scratch) else str(item)
