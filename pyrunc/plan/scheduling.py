"""How the process runs: scheduler, I/O priority, personality, memory policy, and on which CPUs. Pure.

All but the CPUs are calls of the stub, made while it is root still and before a seccomp program could refuse
them. CPUs are the child's own steps, around joining the cgroup: before, they are those of whoever called us.
"""

from __future__ import annotations

from pyrunc.kernel import const as c
from pyrunc.later import later
from pyrunc.oci.config import Linux, Process
from pyrunc.plan.ops import Op, ResetCpuAffinity
from pyrunc.plan.stub import StubCall, Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.oci.rare import Scheduler
    from pyrunc.plan import rareops
else:
    rareops = later("pyrunc.plan.rareops")

_ATTRIBUTES_SIZE = 56  # struct sched_attr with its clamps, Linux 5.3


def scheduling_calls(process: Process, linux: Linux) -> list[StubCall]:
    calls = []
    if process.scheduler is not None:
        attributes = Text(data=_attributes(process.scheduler))
        calls.append(StubCall(call="sched_setattr", args=(0, attributes, 0), origin=process.scheduler.origin))
    if process.io_priority is not None:
        priority = c.IOPRIO_CLASSES[process.io_priority.scheduling_class] << c.IOPRIO_CLASS_SHIFT
        priority |= process.io_priority.priority
        calls.append(
            StubCall(
                call="ioprio_set",
                args=(c.IOPRIO_WHO_PROCESS, 0, priority),
                origin=process.io_priority.origin,
            )
        )
    if linux.personality is not None:
        domain = c.PERSONALITIES[linux.personality.domain]
        calls.append(StubCall(call="personality", args=(domain,), origin=linux.personality.origin))
    policy = linux.memory_policy
    if policy is not None:
        mode = c.MEMORY_POLICIES[policy.mode]
        for flag in policy.flags:
            mode |= c.MEMORY_POLICY_FLAGS[flag]
        nodes = number_mask(policy.nodes)
        # The kernel takes one bit less than it is told.
        args = (mode, Text(data=nodes), 8 * len(nodes) + 1) if nodes else (mode, 0, 0)
        calls.append(StubCall(call="set_mempolicy", args=args, origin=policy.origin))
    return calls


def _attributes(scheduler: Scheduler) -> bytes:
    """struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, two clamps."""
    flags = 0
    for flag in scheduler.flags:
        flags |= c.SCHED_FLAGS[flag]
    fields = (
        (_ATTRIBUTES_SIZE, 4),
        (c.SCHED_POLICIES[scheduler.policy], 4),
        (flags, 8),
        (scheduler.nice & 0xFFFF_FFFF, 4),
        (scheduler.priority, 4),
        (scheduler.runtime, 8),
        (scheduler.deadline, 8),
        (scheduler.period, 8),
        (0, 8),
    )
    return b"".join(value.to_bytes(size, "little") for value, size in fields)


def number_mask(text: str) -> bytes:
    """A list as in cpuset(7), "0-4,9", to bits: whole words of 8 bytes, and none without a number."""
    mask = 0
    for part in text.split(",") if text.strip() else ():
        first, minus, last = part.partition("-")
        for number in range(int(first), int(last if minus else first) + 1):
            mask |= 1 << number
    return mask.to_bytes((mask.bit_length() + 63) // 64 * 8, "little")


def initial_cpus(process: Process) -> tuple[Op, ...]:
    """Of an exec, before it joins the cgroup."""
    affinity = process.exec_cpu_affinity
    return () if affinity is None else _cpus(affinity.initial, f"{affinity.origin}/initial")


def final_cpus(process: Process) -> tuple[Op, ...]:
    """Of an exec, in the cgroup."""
    affinity = process.exec_cpu_affinity
    chosen = () if affinity is None else _cpus(affinity.final, f"{affinity.origin}/final")
    return chosen or (ResetCpuAffinity(),)


def _cpus(text: str, origin: str) -> tuple[Op, ...]:
    mask = number_mask(text)
    return (rareops.SetCpuAffinity(cpus=text, mask=mask, origin=origin),) if mask else ()
