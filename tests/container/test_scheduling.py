"""How a process runs: scheduler, I/O priority, personality, memory policy, CPUs; for init and for exec."""

import ctypes
import json
import os
import struct
import subprocess

import pytest
from support.facts import fields
from support.fields import covers
from support.host import CGROUP1, bounding_capabilities, needs_kernel
from support.marks import deviation

CAP_SYS_NICE = 23
POLICIES = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5}
RESET_ON_FORK = 0x40000000  # in what sched_getscheduler(2) returns, not in /proc
EVERYTHING = sorted(os.sched_getaffinity(0))

# Some ask for what is there without the field as well, and pass.
pytestmark = deviation("runc", reason="does not know the field", before="1.2", sometimes=True)
needs_sys_nice = pytest.mark.skipif(
    not bounding_capabilities() >> CAP_SYS_NICE & 1, reason="root here lacks CAP_SYS_NICE"
)
needs_cpus = pytest.mark.skipif(len(EVERYTHING) < 2, reason="one CPU")
NODES = "/linux/memoryPolicy/nodes"
FLAGS = "/linux/memoryPolicy/flags=MPOL_F_"
needs_numa = pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="the kernel has no NUMA")


def scheduling(stat):
    """Nice value, real-time priority, policy: proc_pid_stat(5)."""
    words = stat.rpartition(")")[2].split()
    return int(words[16]), int(words[37]), int(words[38])


def cpus(status):
    """Cpus_allowed_list, taken apart."""
    found = []
    for part in fields(status)["Cpus_allowed_list"].split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _has_real_time_groups():
    """On cgroup v1 a cgroup may be built to have no real-time processes unless it is given time for them."""
    return "cpu" in CGROUP1 and (CGROUP1["cpu"] / "cpu.rt_runtime_us").exists()


# -- the scheduler ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"policy": "SCHED_OTHER", "nice": 19}, marks=covers("/process/scheduler/nice")),
        {"policy": "SCHED_BATCH", "nice": 1},
        {"policy": "SCHED_IDLE"},
        pytest.param({"policy": "SCHED_OTHER", "nice": -20}, marks=needs_sys_nice),
        pytest.param(
            {"policy": "SCHED_FIFO", "priority": 3},
            marks=[needs_sys_nice, covers("/process/scheduler/priority")],
        ),
        pytest.param({"policy": "SCHED_RR", "priority": 99}, marks=needs_sys_nice),
    ],
)
@covers("/process/scheduler/policy={given[policy]}")
def test_scheduler(runtime, bundle, given):
    bundle.process["scheduler"] = given
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    if "priority" in given and _has_real_time_groups():
        bundle.resources["cpu"] = {"realtimePeriod": 1_000_000, "realtimeRuntime": 1000}
    runtime.launch(bundle, "sleep", "1000")
    expected = (
        given.get("nice", os.getpriority(os.PRIO_PROCESS, 0)),
        given.get("priority", 0),
        POLICIES[given["policy"]],
    )
    with open(f"/proc/{runtime.pid(bundle)}/stat") as stat:
        assert scheduling(stat.read()) == expected
    assert scheduling(runtime.exec(bundle, "cat", "/proc/self/stat").ok().stdout) == expected


@needs_sys_nice
@covers("/process/scheduler/(policy=SCHED_DEADLINE|runtime|deadline|period)")
def test_a_deadline(runtime, bundle):
    times = {"runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000}
    bundle.process["scheduler"] = {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"], **times}
    done = runtime.create(bundle, "sleep", "1000")
    if "device or resource busy" in done.stderr:
        pytest.skip("no bandwidth for deadlines here")
    done.ok()
    command = ["chrt", "--pid", str(runtime.pid(bundle))]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "SCHED_DEADLINE|SCHED_RESET_ON_FORK" in told
    assert "1000000/50000000/100000000" in told


@covers("/process/scheduler/flags=SCHED_FLAG_RESET_ON_FORK")
def test_a_flag_reaches_the_kernel(runtime, bundle):
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    runtime.launch(bundle, "sleep", "1000")
    assert os.sched_getscheduler(runtime.pid(bundle)) == POLICIES["SCHED_BATCH"] | RESET_ON_FORK


def sched_getattr(pid):
    """struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, two clamps."""
    data = ctypes.create_string_buffer(56)
    call = ctypes.CDLL(None, use_errno=True).syscall
    assert call({"x86_64": 315, "aarch64": 275}[os.uname().machine], pid, data, 56, 0) == 0
    names = ("size", "policy", "flags", "nice", "priority", "runtime", "deadline", "period", "min", "max")
    return dict(zip(names, struct.unpack("<IIQiIQQQII", data.raw), strict=True))


@needs_sys_nice
@pytest.mark.parametrize(("flag", "bit"), [("RECLAIM", 2), ("DL_OVERRUN", 4)])
@covers("/process/scheduler/flags=SCHED_FLAG_{flag}")
def test_a_flag_of_deadlines(runtime, bundle, flag, bit):
    times = {"runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000}
    flags = ["SCHED_FLAG_RESET_ON_FORK", f"SCHED_FLAG_{flag}"]
    bundle.process["scheduler"] = {"policy": "SCHED_DEADLINE", "flags": flags, **times}
    done = runtime.create(bundle, "sleep", "1000")
    if "device or resource busy" in done.stderr:
        pytest.skip("no bandwidth for deadlines here")
    done.ok()
    assert sched_getattr(runtime.pid(bundle))["flags"] & bit


@covers("/process/scheduler/flags=SCHED_FLAG_KEEP_POLICY")
def test_the_callers_policy_is_kept(runtime, bundle):
    bundle.process["scheduler"] = {"policy": "SCHED_IDLE", "nice": 7, "flags": ["SCHED_FLAG_KEEP_POLICY"]}
    runtime.launch(bundle, "sleep", "1000")
    found = sched_getattr(runtime.pid(bundle))
    assert (found["policy"], found["nice"]) == (POLICIES["SCHED_OTHER"], 7)


@covers("/process/scheduler/flags=SCHED_FLAG_KEEP_PARAMS")
def test_the_callers_parameters_are_kept(runtime, bundle):
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7, "flags": ["SCHED_FLAG_KEEP_PARAMS"]}
    runtime.launch(bundle, "sleep", "1000")
    found = sched_getattr(runtime.pid(bundle))
    assert (found["policy"], found["nice"]) == (POLICIES["SCHED_OTHER"], os.getpriority(os.PRIO_PROCESS, 0))


@pytest.mark.parametrize("which", ["MIN", "MAX"])
@covers("/process/scheduler/flags=SCHED_FLAG_UTIL_CLAMP_{which}")
def test_a_clamp_is_zero_or_an_error(runtime, bundle, which):
    """The specification has no field for its value."""
    bundle.process["scheduler"] = {"policy": "SCHED_OTHER", "flags": [f"SCHED_FLAG_UTIL_CLAMP_{which}"]}
    done = runtime.create(bundle, "sleep", "1000")
    if done.returncode:
        done.failed("operation not supported", "sched_setattr")
    else:
        assert sched_getattr(runtime.pid(bundle))[which.lower()] == 0


@covers("/process/scheduler/policy=SCHED_ISO")
def test_a_policy_that_the_kernel_lacks(runtime, bundle):
    bundle.process["scheduler"] = {"policy": "SCHED_ISO"}
    runtime.run(bundle, "true").failed("invalid argument", "sched_setattr")


# -- I/O priority ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"class": "IOPRIO_CLASS_RT", "priority": 0}, "realtime: prio 0"),
        ({"class": "IOPRIO_CLASS_BE", "priority": 7}, "best-effort: prio 7"),
        ({"class": "IOPRIO_CLASS_IDLE", "priority": 0}, "idle"),
    ],
)
@covers("/process/ioPriority/(class={given[class]}|priority)")
def test_io_priority(runtime, bundle, given, expected):
    bundle.process["ioPriority"] = given
    runtime.launch(bundle, "sleep", "1000")
    assert runtime.exec(bundle, "ionice", "-p", "1").ok().stdout.strip().startswith(expected)
    assert runtime.ask_exec(bundle, own="ionice -p $$")["own"].startswith(expected)


def test_a_process_file_may_say_otherwise(runtime, bundle, work):
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH"}
    runtime.launch(bundle, "sleep", "1000")
    process = {**bundle.process, "args": ["sh", "-c", "ionice -p $$; cat /proc/self/stat"]}
    process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 1}
    del process["scheduler"]
    (work / "process.json").write_text(json.dumps(process))
    done = runtime("exec", "--process", work / "process.json", bundle.id).ok()
    priority, stat = done.stdout.splitlines()
    assert priority == "best-effort: prio 1"
    assert scheduling(stat)[2] == POLICIES["SCHED_BATCH"]


# -- personality and memory policy -----------------------------------------------------------------------


def test_personality_before_a_profile_that_forbids_it(runtime, bundle):
    bundle.linux["personality"] = {"domain": "LINUX32"}
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}],
    }
    runtime.launch(bundle, "sleep", "1000")
    with open(f"/proc/{runtime.pid(bundle)}/personality") as text:
        assert text.read().strip() == "00000008"
    assert runtime.exec(bundle, "cat", "/proc/self/personality").ok().stdout.strip() == "00000008"


@needs_numa
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"mode": "MPOL_DEFAULT"}, "default"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        pytest.param({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0", marks=covers(NODES)),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED"}, "local"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        pytest.param(
            {"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"},
            "weighted interleave:0",
            marks=needs_kernel(6, 9),
        ),
        pytest.param(
            {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            "interleave=static:0",
            marks=covers(FLAGS + "STATIC_NODES"),
        ),
        pytest.param(
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]},
            "bind=relative:0",
            marks=covers(FLAGS + "RELATIVE_NODES"),
        ),
        pytest.param(
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]},
            "bind=balancing:0",
            marks=covers(FLAGS + "NUMA_BALANCING"),
        ),
    ],
)
@covers("/linux/memoryPolicy/mode={given[mode]}")
def test_memory_policy(runtime, bundle, given, expected):
    """Each line of numa_maps(5): address, policy, more."""
    bundle.linux["memoryPolicy"] = given
    runtime.launch(bundle, "sleep", "1000")
    with open(f"/proc/{runtime.pid(bundle)}/numa_maps") as text:
        texts = [text.read(), runtime.exec(bundle, "cat", "/proc/self/numa_maps").ok().stdout]
    for text in texts:
        policies = {f"{line.partition(' ')[2]} "[: len(expected) + 1] for line in text.splitlines()}
        assert policies == {f"{expected} "}


@needs_numa
def test_memory_of_a_node_that_is_not_there(runtime, bundle):
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1000"}
    runtime.run(bundle, "true").failed("set_mempolicy", "/linux/memoryPolicy", "invalid argument")


# -- CPUs ------------------------------------------------------------------------------------------------


def _on_one_cpu():
    os.sched_setaffinity(0, EVERYTHING[:1])


@needs_cpus
def test_the_callers_cpus_are_not_those_of_a_container(runtime, bundle):
    runtime.create(bundle, "sleep", "1000", preexec_fn=_on_one_cpu).ok()
    runtime.start(bundle, preexec_fn=_on_one_cpu).ok()
    assert sorted(os.sched_getaffinity(runtime.pid(bundle))) == EVERYTHING
    done = runtime.exec(bundle, "cat", "/proc/self/status", preexec_fn=_on_one_cpu).ok()
    assert cpus(done.stdout) == EVERYTHING


@needs_cpus
def test_a_cpuset_has_the_last_word(runtime, bundle):
    one = EVERYTHING[-1]
    bundle.resources["cpu"] = {"cpus": str(one)}
    runtime.launch(bundle, "sleep", "1000")
    assert os.sched_getaffinity(runtime.pid(bundle)) == {one}
    assert cpus(runtime.exec(bundle, "cat", "/proc/self/status").ok().stdout) == [one]


@needs_cpus
@deviation("runc", reason="does not know the field", before="1.3")
@covers("/process/execCPUAffinity/final")
def test_cpus_of_an_exec(runtime, bundle):
    bundle.process["execCPUAffinity"] = {"initial": str(EVERYTHING[0]), "final": f"{EVERYTHING[-1]}"}
    runtime.launch(bundle, "sleep", "1000")
    assert sorted(os.sched_getaffinity(runtime.pid(bundle))) == EVERYTHING
    assert cpus(runtime.exec(bundle, "cat", "/proc/self/status").ok().stdout) == EVERYTHING[-1:]


@needs_cpus
@deviation("runc", reason="does not know the field", before="1.3")
@covers("/process/execCPUAffinity/initial")
def test_the_first_cpus_of_an_exec_are_left_in_the_cgroup(runtime, bundle):
    bundle.process["execCPUAffinity"] = {"initial": str(EVERYTHING[0])}
    runtime.launch(bundle, "sleep", "1000")
    assert cpus(runtime.exec(bundle, "cat", "/proc/self/status").ok().stdout) == EVERYTHING


@pytest.mark.parametrize("which", ["initial", "final"])
@deviation("runc", reason="does not know the field", before="1.3")
def test_cpus_that_are_not_there(runtime, bundle, which):
    bundle.process["execCPUAffinity"] = {which: "8191"}
    runtime.launch(bundle, "sleep", "1000")
    done = runtime.exec(bundle, "true")
    done.failed("CPUs 8191", f"/process/execCPUAffinity/{which}", "invalid argument", status=255)


@needs_cpus
@deviation("runc", reason="does not know the field", before="1.3")
def test_hooks_are_no_exec(runtime, bundle, work):
    bundle.process["execCPUAffinity"] = {"final": str(EVERYTHING[0])}
    bundle.writable().config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "cat /proc/self/status > /status"]}]
    }
    runtime.launch(bundle, "sleep", "1000")
    assert cpus((bundle.rootfs / "status").read_text()) == EVERYTHING
