"""linux.cgroups on whatever cgroups this host has: make, join, freeze, kill, OOM, remove."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

import pytest
from support.host import needs_root
from support.leaks import state_of
from support.waiting import until

from pyrunc.errors import CONFLICT, DENIED, INTERNAL, WRONG_STATE, PyruncError
from pyrunc.linux.cgroups import apply, freezer
from pyrunc.linux.cgroups.files import read_existing
from pyrunc.linux.cgroups.oom import OomWatch, count_oom_kills
from pyrunc.linux.cgroups.processes import kill_all, procs
from pyrunc.linux.cgroups.remove import remove
from pyrunc.oci.config import Cpu, Memory, Resources
from pyrunc.plan.cgroup_update import files_to_read, plan_update
from pyrunc.plan.makeops import MakeCgroup, WriteCgroup

FORKER = "while :; do sleep 0.01 & done"


def own_lines(pid) -> dict[str, str]:
    """Controllers -> path, from /proc/PID/cgroup."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def catches(pid: int, number: int) -> bool:
    mask = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
    return bool(int(mask, 16) >> number - 1 & 1)


# --- make and join --------------------------------------------------------------------------------


def test_a_process_is_in_every_hierarchy(box):
    pid = box.make().start("sleep", "100")
    until(lambda: procs(box.paths) == [pid], "it joined")
    lines = until(
        lambda: (found := own_lines(pid)) and all(p.endswith(box.name) for p in found.values()) and found,
        "it joined all",
    )
    assert len(lines) == len(box.paths)


def test_parents_are_made_and_stay(box):
    box.make(path=f"/{box.name}/inner/most")
    pid = box.start("sleep", "100")
    until(lambda: procs(box.paths) == [pid], "it joined")
    kill_all(box.paths, signal.SIGKILL)
    box.wait(pid)
    remove(box.paths)
    above = [Path(path).parent for _, path in box.paths]
    assert all(path.exists() for path in above)
    for path in above:
        path.rmdir()
        path.parent.rmdir()


def test_an_empty_cgroup_that_exists_is_taken_over(box):
    box.make()
    make = [op for op in box.plan.make if isinstance(op, MakeCgroup)]
    assert [apply.make_cgroup(op) for op in make] == [False] * len(make)


def test_a_cgroup_with_processes_is_refused_and_left_alone(box, new_box):
    pid = box.make().start("sleep", "100")
    until(lambda: procs(box.paths) == [pid], "it joined")
    other = new_box()
    other.name = box.name
    with pytest.raises(PyruncError) as caught:
        other.make()
    assert caught.value.kind == CONFLICT
    assert "container's cgroup is not empty: 1 process(es) found" in str(caught.value)
    until(lambda: state_of(pid) in "SR", "it runs on, neither killed nor frozen")
    other.plan = type(other.plan)()


def test_a_frozen_cgroup_is_refused(box, new_box):
    box.make()
    freezer.freeze(box.paths)
    below = new_box()
    # by its place in each hierarchy: where we are ourselves differs from one to the other
    make = next(
        op
        for op in box.plan.make
        if isinstance(op, MakeCgroup)
        and ("freezer" in op.controllers or (box.layout.is_v2 and op.is_unified))
    )
    for path in (make.path, f"{make.path}/{below.name}"):
        op = MakeCgroup(
            path=path, mountpoint=make.mountpoint, controllers=make.controllers, is_unified=make.is_unified
        )
        with pytest.raises(PyruncError) as caught:
            apply.make_cgroup(op)
        assert (caught.value.kind, caught.value.what) == (
            WRONG_STATE,
            "container's cgroup unexpectedly frozen",
        )
    assert not Path(f"{make.path}/{below.name}").exists()
    freezer.thaw(box.paths)


def test_a_write_that_the_kernel_refuses_names_file_value_and_pointer(box):
    box.make()
    path = str(box.directory("cpuset" if not box.layout.is_v2 else "") / "cpuset.cpus")
    with pytest.raises(PyruncError) as caught:
        apply.write_cgroup(WriteCgroup(path=path, value="0-x", origin="/linux/resources/cpu/cpus"))
    text = str(caught.value)
    assert path in text
    assert '"0-x"' in text
    assert "/linux/resources/cpu/cpus" in text
    assert "invalid argument" in text


def test_files_that_stand_in_for_one_another(box):
    directory = box.make().directory("pids")
    good = f"{directory}/pids.max"
    apply.write_cgroup(WriteCgroup(path=f"{directory}/no.such", value="7", otherwise=((good, "9"),)))
    assert box.read("pids", "pids.max") == "9"
    apply.write_cgroup(WriteCgroup(path=f"{directory}/no.such", value="7", optional=True))
    with pytest.raises(PyruncError, match="failed to write"):
        apply.write_cgroup(WriteCgroup(path=f"{directory}/no.such", value="7"))


def test_each_line_is_a_write_of_its_own(box):
    directory = box.make().directory("pids")
    apply.write_cgroup(WriteCgroup(path=f"{directory}/pids.max", value="5\n6"))
    assert box.read("pids", "pids.max") == "6"
    with pytest.raises(PyruncError) as caught:
        apply.write_cgroup(WriteCgroup(path=f"{directory}/pids.max", value="7\nx"))
    assert '"x"' in str(caught.value), "the line that was refused"


@needs_root
def test_who_may_not_make_cgroups_is_told_before(box):
    """As nobody, in a process of its own."""
    make = box.make().plan.make
    remove(box.paths)
    expected = [op.path for op in make if isinstance(op, MakeCgroup)]
    assert apply.find_denied(make) == ()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            try:
                apply.make_cgroup(make[0])
            except PyruncError as error:
                is_told = error.kind == DENIED and "delegation" in error.hint
                status = 0 if is_told and list(apply.find_denied(make)) == expected else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# --- freeze ---------------------------------------------------------------------------------------


def test_a_frozen_process_does_not_run(box):
    pid = box.make().start("sh", "-c", "while :; do :; done")
    until(lambda: cpu_ticks(pid) > 0, "it runs")
    assert not freezer.is_frozen(box.paths)
    freezer.freeze(box.paths)
    assert freezer.is_frozen(box.paths)
    before = cpu_ticks(pid)
    time.sleep(0.1)
    assert cpu_ticks(pid) == before
    freezer.freeze(box.paths)  # again: no error
    freezer.thaw(box.paths)
    assert not freezer.is_frozen(box.paths)
    until(lambda: cpu_ticks(pid) > before, "it runs again")


def test_freezing_stops_forks(box):
    box.make(Resources(pids_limit=200)).start("sh", "-c", FORKER)
    until(lambda: len(procs(box.paths)) > 3, "it forks")
    freezer.freeze(box.paths)
    frozen = procs(box.paths)
    time.sleep(0.05)
    assert procs(box.paths) == frozen
    freezer.thaw(box.paths)


def test_what_is_gone_is_not_frozen(box):
    box.make()
    remove(box.paths)
    assert not freezer.is_frozen(box.paths)
    with pytest.raises(PyruncError, match="unable to freeze"):
        freezer.freeze(box.paths)


# --- kill -----------------------------------------------------------------------------------------


def test_kill_all_leaves_no_forking_process(box):
    pid = box.make(Resources(pids_limit=200)).start("sh", "-c", FORKER)
    until(lambda: len(procs(box.paths)) > 3, "it forks")
    kill_all(box.paths, signal.SIGKILL)
    assert box.wait(pid) == -signal.SIGKILL
    until(lambda: not procs(box.paths), "all are gone")


def test_sigkill_reaches_a_paused_container(box):
    pid = box.make().start("sleep", "100")
    until(lambda: procs(box.paths) == [pid], "it joined")
    freezer.freeze(box.paths)
    kill_all(box.paths, signal.SIGKILL)
    assert box.wait(pid) == -signal.SIGKILL


def test_other_signals_reach_all_and_leave_it_paused(box):
    """To one that it would kill anyway v2 delivers a signal also while frozen; not so to these."""
    box.make()
    pids = [box.start("sh", "-c", f"trap 'exit {n}' TERM; while :; do sleep 0.05; done") for n in (7, 8)]
    until(lambda: all(catches(pid, signal.SIGTERM) for pid in pids), "they listen")
    freezer.freeze(box.paths)
    kill_all(box.paths, signal.SIGTERM)
    until(lambda: freezer.is_frozen(box.paths), "still frozen")
    assert not any(state_of(pid) in "ZX" for pid in pids)
    freezer.thaw(box.paths)
    assert [box.wait(pid) for pid in pids] == [7, 8]


def test_signals_to_nobody(box):
    box.make()
    kill_all(box.paths, signal.SIGTERM)
    remove(box.paths)
    assert procs(box.paths) == []


# --- remove ---------------------------------------------------------------------------------------


def test_cgroups_made_inside_are_found_and_removed(box):
    box.make()
    main = box.directory("freezer")
    for inner in ("a", "a/b", "c"):
        (main / inner).mkdir()
    pid = box.start("sleep", "100")
    until(lambda: procs(box.paths) == [pid], "it joined")
    if not box.layout.is_v2:
        (main / "a/b/cgroup.procs").write_text(str(pid))
        assert procs(box.paths) == [pid]
    kill_all(box.paths, signal.SIGKILL)
    box.wait(pid)
    remove(box.paths)
    assert not any(Path(path).exists() for _, path in box.paths)
    remove(box.paths)  # again: no error


def test_removal_waits_for_a_process_that_is_about_to_end(box):
    pid = box.make().start("sh", "-c", "trap 'sleep 0.3; exit 7' TERM; while :; do sleep 0.05; done")
    until(lambda: catches(pid, signal.SIGTERM), "the trap is set")
    started = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    remove(box.paths)
    assert time.monotonic() - started >= 0.3
    assert box.wait(pid) == 7


def test_removal_gives_up_and_names_who_is_left(box):
    pid = box.make().start("sleep", "100")
    until(lambda: procs(box.paths) == [pid], "it joined")
    with pytest.raises(PyruncError) as caught:
        remove(box.paths, timeout_seconds=0.1)
    assert caught.value.kind == INTERNAL
    assert f"1 process(es) left: {pid}" in str(caught.value)


# --- memory ---------------------------------------------------------------------------------------

LITTLE_MEMORY = Resources(memory=Memory(limit=8 << 20, swap=8 << 20))
HOG = ("tail", "/dev/zero")


def test_oom_is_noticed(box):
    box.make(LITTLE_MEMORY)
    watch = OomWatch(box.paths)
    try:
        poll = select.poll()
        poll.register(watch.fd, watch.poll_event)
        assert poll.poll(50) == [] or watch.take() == 0
        assert count_oom_kills(box.paths) == 0
        pid = box.start(*HOG)
        assert poll.poll(30_000), "woken"
        assert box.wait(pid) == -signal.SIGKILL
        seen = until(watch.take, "an event")
        assert seen >= 1
        assert count_oom_kills(box.paths) == 1
        remove(box.paths)
        assert poll.poll(30_000), "woken by the end"
        assert watch.take() is None
    finally:
        watch.close()


def update(box, resources: Resources) -> None:
    current = read_existing(files_to_read(resources, box.paths))
    for op in plan_update(resources, box.layout, box.paths, current)[0]:
        apply.write_cgroup(op)


@pytest.mark.parametrize("limits", [(64, 128), (256, 512), (32, 32), (32, -1), (-1, -1), (16, 64)])
def test_memory_and_swap_can_go_from_anywhere_to_anywhere(box, limits):
    box.make()
    for limit, swap in ((64, 96), limits, (100, 200), limits):
        memory = Memory(limit=limit if limit < 0 else limit << 20, swap=swap if swap < 0 else swap << 20)
        update(box, Resources(memory=memory))


@pytest.mark.parametrize("parent_quota", [50000, 100000])
def test_quota_and_period_can_change_where_the_parent_allows_no_more(box, new_box, parent_quota):
    outer = box.make(path=f"/{box.name}", resources=Resources(cpu=Cpu(quota=parent_quota, period=100000)))
    inner = new_box().make(path=f"/{box.name}/inner")
    for quota, period in ((5000, 10000), (25000, 50000), (parent_quota, 100000), (1000, 5000), (-1, 20000)):
        update(inner, Resources(cpu=Cpu(quota=quota, period=period, burst=0)))
        update(inner, Resources(cpu=Cpu(quota=2000, period=100000, burst=1000)))
    with pytest.raises(PyruncError) as caught:
        update(inner, Resources(cpu=Cpu(burst=90000)))
    assert "must not exceed" in caught.value.hint
    remove(inner.paths)
    remove(outer.paths)


def test_a_cgroup_that_is_gone_has_nobody_to_thaw():
    """`kill KILL` looks whether the container is frozen, and by the time it thaws it may have ended."""
    gone = (("freezer", "/sys/fs/cgroup/freezer/pyrunc-test-gone"),)
    freezer.thaw(gone)
    with pytest.raises(PyruncError, match="unable to freeze"):
        freezer.freeze(gone)
