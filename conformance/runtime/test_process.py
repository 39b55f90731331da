"""process: arguments, environment, directory, limits, capabilities, ids, scheduling."""

import os

import pytest
from support.facts import capabilities, fields, limits
from support.host import needs_sys_resource

from conformance.clauses import requirement

STATUS = "cat /proc/self/status"


@requirement("ProcessConsoleSizeIgnore")
def test_a_console_size_without_a_terminal_is_ignored(runtime, bundle):
    bundle.process["consoleSize"] = {"height": 10, "width": 20}
    runtime.run(bundle, "true").ok()


@requirement("ProcCwdSet")
def test_the_working_directory(runtime, bundle):
    bundle.process["cwd"] = "/home/user"
    assert runtime.ask(bundle, cwd="pwd")["cwd"] == "/home/user"


@requirement("ProcCwdAbs")
@pytest.mark.parametrize("cwd", ["tmp", "", None])
def test_a_working_directory_that_is_not_absolute(bundle, refused, cwd):
    bundle.process["cwd"] = cwd
    if cwd is None:
        del bundle.process["cwd"]
    refused()


@requirement("ProcEnv")
def test_the_environment(runtime, bundle):
    bundle.setenv("KEY", "a value = with equals")
    bundle.setenv("EMPTY", "")
    environ = runtime.run(bundle, "env").ok().stdout.splitlines()
    assert {"KEY=a value = with equals", "EMPTY=", "TERM=xterm"} <= set(environ)


@requirement("ProcEnv")
def test_nothing_of_the_runtimes_environment(runtime, bundle):
    environ = {**os.environ, "OF_THE_CALLER": "1"}
    assert "OF_THE_CALLER" not in runtime.run(bundle, "env", env=environ).ok().stdout


@requirement("ProcArgsOneEntryRequired")
@pytest.mark.parametrize("args", [[], None])
def test_no_arguments(runtime, bundle, args):
    bundle.process["args"] = args
    if args is None:
        del bundle.process["args"]
    bundle.write()
    created = runtime("create", "--bundle", bundle.path, runtime.remember(bundle.id))
    assert created.returncode != 0 or runtime.start(bundle).returncode != 0


@requirement("ProcArgsExecvp")
def test_arguments_are_as_given(runtime, bundle):
    done = runtime.run(bundle, "cat", "/proc/self/cmdline", "/dev/null").ok()
    assert done.stdout == "cat\0/proc/self/cmdline\0/dev/null\0"


@requirement("ProcArgsExecvp")
@pytest.mark.parametrize("name", ["only-there", "/usr/bin/only-there", "./only-there"])
def test_the_program_is_found_as_execvp_does(runtime, bundle, name):
    (bundle.rootfs / "usr/bin/only-there").write_text("#!/bin/sh\necho found\n")
    (bundle.rootfs / "usr/bin/only-there").chmod(0o755)
    bundle.process["cwd"] = "/usr/bin"
    assert runtime.run(bundle, name).ok().stdout == "found\n"


@requirement("ProcArgsExecvp")
def test_a_program_that_is_not_there(runtime, bundle):
    created = runtime.create(bundle, "no-such-program")
    assert created.returncode != 0 or runtime.start(bundle).returncode != 0


@requirement("ProcNoNewPrivileges")
@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges(runtime, bundle, value):
    bundle.process["noNewPrivileges"] = value
    assert fields(runtime.ask(bundle, status=STATUS)["status"])["NoNewPrivs"] == str(int(value))


@requirement("LinuxProcOomScoreAdjSet")
@pytest.mark.parametrize("value", [100, 1000])
def test_the_oom_score(runtime, bundle, value):
    bundle.process["oomScoreAdj"] = value
    assert runtime.ask(bundle, score="cat /proc/self/oom_score_adj")["score"] == str(value)


@requirement("LinuxProcOomScoreAdjNotSet")
def test_an_oom_score_that_is_not_given_is_left_alone(runtime, bundle):
    set_own = lambda: open("/proc/self/oom_score_adj", "w").write("321")  # noqa: E731
    done = runtime.run(bundle, "cat", "/proc/self/oom_score_adj", preexec_fn=set_own).ok()
    assert done.stdout == "321\n"


@requirement("ProcApparmorUnavailable")
@pytest.mark.skipif(os.path.exists("/sys/kernel/security/apparmor"), reason="AppArmor is on")
def test_a_profile_without_apparmor(runtime, bundle):
    bundle.process["apparmorProfile"] = "conformance-no-such-profile"
    assert runtime.run(bundle, "true").returncode != 0


@requirement("ProcSelinuxUnavailable")
@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="SELinux is on")
def test_a_label_without_selinux(runtime, bundle):
    bundle.process["selinuxLabel"] = "system_u:system_r:svirt_lxc_net_t:s0:c1,c2"
    assert runtime.run(bundle, "true").returncode != 0


LIMITS = {
    "RLIMIT_AS": "Max address space", "RLIMIT_CORE": "Max core file size", "RLIMIT_CPU": "Max cpu time",
    "RLIMIT_DATA": "Max data size", "RLIMIT_FSIZE": "Max file size", "RLIMIT_LOCKS": "Max file locks",
    "RLIMIT_MEMLOCK": "Max locked memory", "RLIMIT_MSGQUEUE": "Max msgqueue size",
    "RLIMIT_NOFILE": "Max open files", "RLIMIT_NPROC": "Max processes",
    "RLIMIT_RTPRIO": "Max realtime priority", "RLIMIT_RTTIME": "Max realtime timeout",
    "RLIMIT_SIGPENDING": "Max pending signals", "RLIMIT_STACK": "Max stack size",
}  # fmt: skip


@requirement(
    "PosixProcRlimitsTypeGet", "PosixProcRlimitsSoftMatchCur", "PosixProcRlimitsHardMatchMax",
    "PosixProcRlimitsTypeValueError",
)  # fmt: skip
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit(runtime, bundle, name):
    """Below what the host's root has, so that no capability is needed."""
    with open("/proc/self/limits") as file:
        hard = limits(file.read())[LIMITS[name]][1]
    high = 1 << 30 if hard == "unlimited" else int(hard)
    low = high // 2
    bundle.process["rlimits"] = [{"type": name, "soft": low, "hard": high}]
    found = limits(runtime.ask(bundle, limits="cat /proc/self/limits")["limits"])
    assert found[LIMITS[name]] == (str(low), str(high))


@requirement("PosixProcRlimitsTypeGeneError", "PosixProcRlimitsTypeValueError")
@pytest.mark.parametrize("name", ["RLIMIT_NONE", "NOFILE", "", "RLIMIT_nofile"])
def test_a_limit_that_is_not_known(runtime, bundle, name):
    bundle.process["rlimits"] = [{"type": name, "soft": 1, "hard": 1}]
    assert runtime.run(bundle, "true").returncode != 0


@requirement("PosixProcRlimitsErrorOnDup")
def test_a_limit_that_is_listed_twice(runtime, bundle):
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": n, "hard": n} for n in (512, 256)]
    assert runtime.run(bundle, "true").returncode != 0


@requirement("PosixProcRlimitsTypeGeneError")
def test_a_soft_limit_above_the_hard_one(runtime, bundle):
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 256}]
    assert runtime.run(bundle, "true").returncode != 0


@requirement("PosixProcRlimitsHardMatchMax")
@needs_sys_resource
def test_a_limit_above_the_callers(runtime, bundle):
    bundle.process["rlimits"] = [{"type": "RLIMIT_MSGQUEUE", "soft": 1 << 40, "hard": 1 << 40}]
    found = limits(runtime.ask(bundle, limits="cat /proc/self/limits")["limits"])
    assert found["Max msgqueue size"] == (str(1 << 40), str(1 << 40))


@requirement("LinuxProcCapSets")
def test_the_five_sets(runtime, bundle):
    all_of = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"]
    given = {
        "bounding": all_of, "permitted": all_of[:3], "effective": all_of[:2],
        "inheritable": all_of[:2], "ambient": all_of[:1],
    }  # fmt: skip
    bundle.process["capabilities"] = given
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    status = runtime.ask(bundle, status=STATUS)["status"]
    for short, name in (("Bnd", "bounding"), ("Inh", "inheritable"), ("Amb", "ambient")):
        assert capabilities(status, short) == set(given[name]), name
    # execve of another user keeps what is ambient, capabilities(7).
    assert capabilities(status, "Prm") == capabilities(status, "Eff") == {"CAP_AUDIT_WRITE"}


@requirement("LinuxProcCapSets")
def test_the_sets_of_root(runtime, bundle):
    for name in ("bounding", "permitted", "effective"):
        bundle.process["capabilities"][name] = ["CAP_CHOWN", "CAP_KILL"]
    bundle.process["capabilities"]["ambient"] = []
    status = runtime.ask(bundle, status=STATUS)["status"]
    for short in ("Bnd", "Prm", "Eff"):
        assert capabilities(status, short) == {"CAP_CHOWN", "CAP_KILL"}, short


@requirement("LinuxProcCapNone")
@pytest.mark.parametrize("given", [{}, None])
def test_no_sets(runtime, bundle, given):
    bundle.process["capabilities"] = given
    if given is None:
        del bundle.process["capabilities"]
    status = runtime.ask(bundle, status=STATUS)["status"]
    for short in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert capabilities(status, short) == set(), short


@requirement("LinuxProcCapError", "LinuxProcCapWarn")
def test_a_capability_that_is_not_known_is_warned_about(runtime, bundle):
    bundle.process["capabilities"]["bounding"] = ["CAP_KILL", "CAP_OF_THE_FUTURE"]
    done = runtime.run(bundle, "true").ok()
    assert "CAP_OF_THE_FUTURE" in done.stderr


@requirement("UserIds")
def test_user_and_groups(runtime, bundle):
    bundle.process["user"] = {"uid": 1234, "gid": 2345, "additionalGids": [10, 3456]}
    found = fields(runtime.ask(bundle, status=STATUS)["status"])
    assert found["Uid"].split() == ["1234"] * 4
    assert found["Gid"].split() == ["2345"] * 4
    assert {"10", "3456"} <= set(found["Groups"].split()) <= {"10", "3456", "2345"}


@requirement("UserIds")
def test_no_groups_of_the_caller(runtime, bundle):
    set_own = lambda: os.setgroups([4321])  # noqa: E731
    done = runtime.run(bundle, "cat", "/proc/self/status", preexec_fn=set_own).ok()
    assert set(fields(done.stdout)["Groups"].split()) <= {"0"}


@requirement("UserUmask")
@pytest.mark.parametrize("umask", [0o077, 0, 0o022])
def test_the_umask(runtime, bundle, umask):
    bundle.process["user"]["umask"] = umask
    assert int(runtime.ask(bundle, umask="umask")["umask"], 8) == umask


@requirement("UserUnmapped")
@pytest.mark.parametrize("which", ["uid", "gid"])
def test_an_id_that_is_not_mapped(runtime, bundle, which):
    bundle.map_ids(size=1000)
    bundle.process["user"][which] = 2000
    assert runtime.run(bundle, "true").returncode != 0


@requirement("SchedulerPolicy")
@pytest.mark.parametrize(("policy", "number"), [("SCHED_OTHER", "0"), ("SCHED_BATCH", "3")])
def test_the_scheduler(runtime, bundle, policy, number):
    bundle.process["scheduler"] = {"policy": policy, "nice": 7}
    words = runtime.ask(bundle, stat="cat /proc/self/stat")["stat"].rpartition(")")[2].split()
    # proc_pid_stat(5): nice is field 19, policy 41; the third is words[0].
    assert (words[16], words[38]) == ("7", number)


@requirement("SchedulerInvalid")
@pytest.mark.parametrize(
    "given",
    [
        {"policy": "SCHED_NONE"},
        {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONE"]},
        {"policy": "SCHED_FIFO", "priority": 1000},
    ],
)
def test_a_scheduler_that_cannot_be(runtime, bundle, given):
    bundle.process["scheduler"] = given
    assert runtime.run(bundle, "true").returncode != 0


@requirement("IOPriority")
@pytest.mark.parametrize(
    ("given", "seen"),
    [("IOPRIO_CLASS_BE", "best-effort: prio 6"), ("IOPRIO_CLASS_IDLE", "idle")],
)
def test_the_io_priority(runtime, bundle, given, seen):
    bundle.process["ioPriority"] = {"class": given, "priority": 6 if given.endswith("BE") else 0}
    assert runtime.ask(bundle, ionice="ionice -p $$")["ionice"].startswith(seen)


@requirement("IOPriorityInvalid")
@pytest.mark.parametrize("given", [{"class": "IOPRIO_CLASS_X", "priority": 1}, {"class": "", "priority": 1}])
def test_an_io_priority_that_cannot_be(runtime, bundle, given):
    bundle.process["ioPriority"] = given
    assert runtime.run(bundle, "true").returncode != 0


@requirement("ExecCPUAffinityInvalid")
@pytest.mark.parametrize("which", ["initial", "final"])
def test_a_cpu_list_that_cannot_be_read(runtime, bundle, which):
    """Told at create, or when a process is executed."""
    bundle.process["execCPUAffinity"] = {which: "one"}
    created = runtime.create(bundle, "sleep", "1000")
    if created.returncode == 0:
        runtime.start(bundle).ok()
        assert runtime.exec(bundle, "true").returncode != 0
