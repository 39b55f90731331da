"""plan.scheduling: what the stub calls, and which CPUs a step asks for. Pure."""

from __future__ import annotations

import struct

import pytest

from pyrunc.oci.config import Linux, Process
from pyrunc.oci.features import MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES
from pyrunc.oci.processrules import is_list_of_numbers
from pyrunc.oci.rare import CpuAffinity, IoPriority, MemoryPolicy, Personality, Scheduler
from pyrunc.plan.ops import ResetCpuAffinity
from pyrunc.plan.scheduling import final_cpus, initial_cpus, number_mask, scheduling_calls
from pyrunc.plan.stub import Text


def calls(process=None, linux=None):
    return [
        (call.call, call.args, call.origin)
        for call in scheduling_calls(process or Process(), linux or Linux())
    ]


def test_nothing_is_asked_for():
    assert calls() == []
    assert initial_cpus(Process()) == ()
    assert final_cpus(Process()) == (ResetCpuAffinity(),)


def test_the_order_is_that_of_runc():
    process = Process(
        scheduler=Scheduler(policy="SCHED_IDLE"), io_priority=IoPriority(scheduling_class="IOPRIO_CLASS_BE")
    )
    linux = Linux(personality=Personality(domain="LINUX"), memory_policy=MemoryPolicy(mode="MPOL_LOCAL"))
    assert [call for call, _, _ in calls(process, linux)] == [
        "sched_setattr", "ioprio_set", "personality", "set_mempolicy",
    ]  # fmt: skip


def test_the_attributes_of_a_scheduler():
    """struct sched_attr, in full: the kernel looks at its size first."""
    scheduler = Scheduler(
        policy="SCHED_DEADLINE", nice=-20, priority=7, runtime=1 << 40, deadline=2 << 40, period=3 << 40,
        flags=("SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_UTIL_CLAMP_MAX"),
    )  # fmt: skip
    ((name, (pid, attributes, flags), origin),) = calls(Process(scheduler=scheduler))
    assert (name, pid, flags, origin) == ("sched_setattr", 0, 0, "/process/scheduler")
    assert isinstance(attributes, Text)
    assert struct.unpack("<IIQiIQQQII", attributes.data) == (
        56, 6, 0x41, -20, 7, 1 << 40, 2 << 40, 3 << 40, 0, 0,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "number"), [("RT", 1), ("BE", 2), ("IDLE", 3)])
def test_an_io_priority_is_a_class_and_a_level(name, number):
    priority = IoPriority(scheduling_class=f"IOPRIO_CLASS_{name}", priority=5)
    assert calls(Process(io_priority=priority)) == [
        ("ioprio_set", (1, 0, number << 13 | 5), "/process/ioPriority")
    ]


@pytest.mark.parametrize(("domain", "number"), [("LINUX", 0), ("LINUX32", 8)])
def test_a_personality_and_not_its_flags(domain, number):
    personality = Personality(domain=domain, flags=("ADDR_NO_RANDOMIZE",))
    assert calls(linux=Linux(personality=personality)) == [("personality", (number,), "/linux/personality")]


def test_nodes_are_a_mask_and_its_length_plus_one():
    policy = MemoryPolicy(mode="MPOL_BIND", nodes="0,64", flags=("MPOL_F_STATIC_NODES",))
    mask = Text(data=b"\1" + bytes(7) + b"\1" + bytes(7))
    assert calls(linux=Linux(memory_policy=policy)) == [
        ("set_mempolicy", (1 << 15 | 2, mask, 129), "/linux/memoryPolicy")
    ]


def test_every_mode_and_flag_that_features_promises_has_a_number_of_its_own():
    modes = {calls(linux=Linux(memory_policy=MemoryPolicy(mode=mode)))[0][1] for mode in MEMORY_POLICY_MODES}
    assert modes == {(number, 0, 0) for number in range(7)}
    for flag in MEMORY_POLICY_FLAGS:
        policy = MemoryPolicy(mode="MPOL_DEFAULT", flags=(flag,))
        assert calls(linux=Linux(memory_policy=policy))[0][1][0] in (1 << 13, 1 << 14, 1 << 15)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []), (" ", []), ("0", [0]), ("0-4,9", [0, 1, 2, 3, 4, 9]), (" 1 - 2 , 63", [1, 2, 63]),
        ("64", [64]), ("8191", [8191]),
    ],
)  # fmt: skip
def test_a_list_of_numbers_is_a_mask_of_whole_words(text, numbers):
    assert is_list_of_numbers(text, 8191)
    mask = number_mask(text)
    assert len(mask) % 8 == 0
    assert int.from_bytes(mask, "little") == sum(1 << number for number in numbers)
    assert (len(mask) == 0) == (not numbers)


def test_cpus_of_an_exec():
    process = Process(exec_cpu_affinity=CpuAffinity(initial="0", final="1-2"))
    (first,), (last,) = initial_cpus(process), final_cpus(process)
    assert (first.mask, first.origin) == (b"\1" + bytes(7), "/process/execCPUAffinity/initial")
    assert (last.mask, last.origin) == (b"\6" + bytes(7), "/process/execCPUAffinity/final")
    assert last.describe() == "run on CPUs 1-2"


def test_without_last_cpus_those_of_the_cgroup():
    assert final_cpus(Process(exec_cpu_affinity=CpuAffinity(initial="0"))) == (ResetCpuAffinity(),)
    assert initial_cpus(Process(exec_cpu_affinity=CpuAffinity(final="0"))) == ()
