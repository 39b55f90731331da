"""process: user, groups, umask, working directory, environment, program look-up, limits, sysctl."""

import os
import resource
from pathlib import Path

import pytest
from support import elf
from support.facts import CAPABILITIES, capabilities, fields, limits
from support.fields import covers
from support.host import needs_namespace, needs_sys_resource, needs_x86_64
from support.marks import deviation

STATUS = "cat /proc/self/status"
GETEUID = 107  # x86-64


# -- user ------------------------------------------------------------------------------------------------


@covers("/process/user/(uid|gid|additionalGids)")
def test_user_and_groups(runtime, bundle):
    bundle.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 1002, 7]}
    status = fields(runtime.ask(bundle, status=STATUS)["status"])
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1001"] * 4
    assert sorted(int(gid) for gid in status["Groups"].split()) in ([5, 7, 1002], [5, 7, 1001, 1002])


def test_no_group_of_the_caller_is_kept(runtime, bundle):
    before = os.getgroups()
    os.setgroups([4242])
    try:
        status = fields(runtime.ask(bundle, status=STATUS)["status"])
    finally:
        os.setgroups(before)
    assert status["Groups"].split() in ([], ["0"])


@pytest.mark.parametrize("uid", [-1, 2**32, 2**32 - 1])
def test_a_user_out_of_range(runtime, bundle, uid):
    """CVE-2026-46680: a number that does not fit must not become another user, least of all root."""
    bundle.process["user"] = {"uid": uid, "gid": 0}
    done = runtime.run(bundle, "id", "-u")
    done.failed("uid")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "0022"), ({"umask": 0}, "0000"),
        pytest.param({"umask": 0o77}, "0077", marks=covers("/process/user/umask")),
    ],
)  # fmt: skip
def test_umask(runtime, bundle, given, expected):
    bundle.process["user"].update(given)
    before = os.umask(0o137)
    try:
        assert runtime.ask(bundle, umask="umask") == {"umask": expected}
    finally:
        os.umask(before)


# -- working directory -----------------------------------------------------------------------------------


@covers("/process/cwd")
def test_the_working_directory(runtime, bundle):
    bundle.process["cwd"] = "/usr/bin"
    assert runtime.ask(bundle, cwd="pwd; readlink /proc/self/cwd")["cwd"].split() == ["/usr/bin"] * 2


def test_a_missing_working_directory_is_made(runtime, bundle):
    bundle.process["cwd"] = "/made/for/us"
    assert runtime.ask(bundle, cwd="pwd; stat -c %a .") == {"cwd": "/made/for/us\n755"}


def test_a_working_directory_that_only_the_user_may_enter(runtime, bundle):
    (bundle.rootfs / "private").mkdir(mode=0o700)
    os.chown(bundle.rootfs / "private", 1000, 1000)
    bundle.process.update(cwd="/private", user={"uid": 1000, "gid": 1000})
    bundle.process["capabilities"] = {}
    assert runtime.ask(bundle, cwd="pwd") == {"cwd": "/private"}


@pytest.mark.parametrize("cwd", ["", "relative", "./x"])
def test_a_working_directory_is_absolute(runtime, bundle, cwd):
    bundle.process["cwd"] = cwd
    runtime.run(bundle, "true").failed("wd")


def test_a_file_is_no_working_directory(runtime, bundle):
    bundle.process["cwd"] = "/etc/passwd"
    runtime.run(bundle, "true").failed("not a directory")


@pytest.mark.parametrize("fd", [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 63])
def test_a_descriptor_of_the_runtime_is_no_way_out(runtime, bundle, fd, work):
    """CVE-2024-21626: a leaked descriptor of the host's, entered by cwd."""
    bundle.process["cwd"] = f"/proc/self/fd/{fd}"
    done = runtime.run(bundle, "sh", "-c", "pwd; ls ../../../../../..")
    assert done.returncode != 0, done
    assert done.stdout == ""


# -- environment -----------------------------------------------------------------------------------------


@covers("/process/env")
def test_the_environment_is_the_configs_and_nothing_else(runtime, bundle):
    bundle.process["env"] = ["PATH=/bin", "ONE=1", "EMPTY=", "EQUAL=a=b", "LINES=a\nb", "ÜML=äöü"]
    done = runtime.run(bundle, "cat", "/proc/self/environ", env={**os.environ, "SECRET": "host"}).ok()
    found = done.stdout.rstrip("\0").split("\0")
    assert sorted(found) == sorted([*bundle.process["env"], "HOME=/root"])


@pytest.mark.parametrize(("uid", "home"), [(0, "/root"), (1000, "/home/user"), (4321, "/")])
def test_home_is_looked_up_in_the_image(runtime, bundle, uid, home):
    bundle.process["user"] = {"uid": uid, "gid": 0}
    assert runtime.ask(bundle, home="echo $HOME") == {"home": home}


def test_a_given_home_is_kept(runtime, bundle):
    bundle.setenv("HOME", "/tmp")
    assert runtime.ask(bundle, home="echo $HOME") == {"home": "/tmp"}


def test_an_empty_home_is_looked_up(runtime, bundle):
    bundle.setenv("HOME", "")
    assert runtime.ask(bundle, home="echo $HOME") == {"home": "/root"}


_ZERO = deviation("runc", reason="takes a field that is missing, or is no number, for 0")


@pytest.mark.parametrize(
    "passwd",
    [
        None, "",
        pytest.param("garbage\n", marks=_ZERO), pytest.param(":::::\n", marks=_ZERO),
        pytest.param("root:x:zero:0:::\n", marks=_ZERO),
        pytest.param("x" * 100_000, marks=deviation("runc", reason="gives up on a long line")),
    ],
    ids=["missing", "empty", "garbage", "empty fields", "a word for a number", "a long line"],
)  # fmt: skip
def test_a_strange_passwd_file_is_no_reason_to_fail(runtime, bundle, passwd):
    path = bundle.rootfs / "etc/passwd"
    path.unlink()
    if passwd is not None:
        path.write_text(passwd)
    assert runtime.ask(bundle, home="echo $HOME") == {"home": "/"}


def test_a_passwd_file_that_is_a_link_stays_inside(runtime, bundle, work):
    (work / "passwd").write_text("root:x:0:0::/from-the-host:/bin/sh\n")
    (bundle.rootfs / "etc/passwd").unlink()
    (bundle.rootfs / "etc/passwd").symlink_to(work / "passwd")
    assert runtime.ask(bundle, home="echo $HOME") == {"home": "/"}


def test_of_a_variable_given_twice_the_last_wins(runtime, bundle):
    bundle.process["env"] += ["TWICE=first", "TWICE=second"]
    done = runtime.run(bundle, "cat", "/proc/self/environ").ok()
    assert [entry for entry in done.stdout.split("\0") if entry.startswith("TWICE")] == ["TWICE=second"]


@pytest.mark.parametrize("entry", ["NOVALUE", "=value", ""])
def test_what_is_no_variable_is_an_error(runtime, bundle, entry):
    bundle.process["env"].append(entry)
    runtime.run(bundle, "true").failed("env")


# -- the program -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere:/usr/bin:/bin", "/bin", ":/bin"])
def test_the_program_is_looked_up_in_the_containers_path(runtime, bundle, path):
    bundle.process["env"] = [f"PATH={path}"]
    assert runtime.run(bundle, "echo", "hello").ok().stdout == "hello\n"


def test_the_first_in_path_wins(runtime, bundle):
    (bundle.rootfs / "usr/bin/echo").write_text("#!/bin/sh\nprintf mine")
    (bundle.rootfs / "usr/bin/echo").chmod(0o755)
    (bundle.rootfs / "tmp/echo").write_text("not executable")
    bundle.process["env"] = ["PATH=/tmp:/usr/bin:/bin"]
    assert runtime.run(bundle, "echo").ok().stdout == "mine"


def test_a_program_relative_to_the_working_directory(runtime, bundle):
    bundle.process["cwd"] = "/bin"
    assert runtime.run(bundle, "./busybox", "echo", "hello").ok().stdout == "hello\n"


@covers("/process/args")
def test_arguments_pass_byte_for_byte(runtime, bundle):
    words = ["", " a  b ", "*", "$HOME", "a\nb", "ünïcödé", "'\"\\", "x" * 100_000]
    done = runtime.run(bundle, "sh", "-c", 'printf "%s|" "$@"', "sh", *words).ok()
    assert done.stdout == "".join(f"{word}|" for word in words)


def test_the_name_of_the_program_is_its_first_argument(runtime, bundle):
    done = runtime.run(bundle, "cat", "/proc/self/cmdline").ok()
    assert done.stdout.split("\0") == ["cat", "/proc/self/cmdline", ""]


def test_a_root_without_the_execute_bit_may_not_run_it(runtime, bundle):
    (bundle.rootfs / "bin/script").write_text("#!/bin/sh\necho ran\n")
    (bundle.rootfs / "bin/script").chmod(0o644)
    runtime.run(bundle, "/bin/script").failed("permission denied")


# -- what it inherits ------------------------------------------------------------------------------------


def test_signals_are_at_their_defaults(runtime, bundle):
    """An interpreter ignores SIGPIPE, and what is ignored is inherited."""
    status = fields(runtime.run(bundle, "cat", "/proc/self/status").ok().stdout)
    assert {int(status[name], 16) for name in ("SigIgn", "SigBlk", "SigCgt")} == {0}
    runtime.launch(bundle, "sleep", "1000")
    status = fields(runtime.exec(bundle, "cat", "/proc/self/status").ok().stdout)
    assert (int(status["SigIgn"], 16), int(status["SigBlk"], 16)) == (0, 0)


def test_what_the_caller_ignores_is_not_ignored(runtime, bundle):
    """As nohup(1) does, and a shell for what it starts in the background."""
    how = {"prefix": ("sh", "-c", "trap '' HUP INT QUIT TERM USR1 TSTP CHLD; exec \"$@\"", "sh")}
    status = fields(runtime.run(bundle, "cat", "/proc/self/status", **how).ok().stdout)
    assert int(status["SigIgn"], 16) == 0
    runtime.launch(bundle, "sleep", "1000", **how)
    status = fields(runtime.exec(bundle, "cat", "/proc/self/status", **how).ok().stdout)
    assert int(status["SigIgn"], 16) == 0
    assert int(fields(Path(f"/proc/{runtime.pid(bundle)}/status").read_text())["SigIgn"], 16) == 0


def test_no_descriptor_is_inherited(runtime, bundle, work):
    script = f'exec 9<{work} 10<{work} 37<{work} 251<{work} "$@"'
    done = runtime.run(bundle, "ls", "/proc/self/fd", prefix=("bash", "-c", script, "bash")).ok()
    assert done.stdout.split() == ["0", "1", "2", "3"]
    runtime.create(bundle, "ls", "/proc/self/fd", prefix=("bash", "-c", script, "bash")).ok()
    assert len(os.listdir(f"/proc/{runtime.pid(bundle)}/fd")) <= 12


def test_the_callers_death_signal_is_not_the_containers(runtime, bundle):
    """containerd sets PDEATHSIG on the runtime: what it starts must not die with it."""
    prefix = ("setpriv", "--pdeathsig", "KILL")
    runtime.create(bundle, "sleep", "1000", prefix=prefix).ok()
    runtime.start(bundle, prefix=prefix).ok()
    assert runtime.status(bundle) == "running"
    assert runtime.exec(bundle, "true", prefix=prefix).returncode == 0


@deviation("runc", reason="leaves it to the kernel, some of which reset it", before="1.2", sometimes=True)
def test_the_callers_cpu_affinity_is_not_the_containers(runtime, bundle):
    everything = os.sched_getaffinity(0)
    if len(everything) < 2:
        pytest.skip("one CPU")
    done = runtime.run(
        bundle, "cat", "/proc/self/status", preexec_fn=lambda: os.sched_setaffinity(0, [min(everything)])
    )
    allowed = fields(done.ok().stdout)["Cpus_allowed_list"]
    assert allowed != str(min(everything))


# -- limits ----------------------------------------------------------------------------------------------


@covers("/process/rlimits/*/(soft|hard)")
def test_resource_limits(runtime, bundle):
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_FSIZE", "soft": 1 << 30, "hard": 1 << 31},
        {"type": "RLIMIT_STACK", "soft": 1 << 22, "hard": 1 << 23},
    ]
    found = limits(runtime.ask(bundle, limits="cat /proc/self/limits")["limits"])
    assert found["Max open files"] == ("123", "456")
    assert found["Max core file size"] == ("0", "0")
    assert found["Max file size"] == (str(1 << 30), str(1 << 31))
    assert found["Max stack size"] == (str(1 << 22), str(1 << 23))


LIMITS = {
    "CPU": "cpu time", "FSIZE": "file size", "DATA": "data size", "STACK": "stack size",
    "CORE": "core file size", "RSS": "resident set", "NPROC": "processes", "NOFILE": "open files",
    "MEMLOCK": "locked memory", "AS": "address space", "LOCKS": "file locks",
    "SIGPENDING": "pending signals", "MSGQUEUE": "msgqueue size", "NICE": "nice priority",
    "RTPRIO": "realtime priority", "RTTIME": "realtime timeout",
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
@covers("/process/rlimits/*/type=RLIMIT_{name}")
def test_each_resource_limit(runtime, bundle, name):
    """None above that of ours, which root may lack the right to raise."""
    number = list(LIMITS).index(name)
    _, hard = resource.getrlimit(number)
    wanted = 1 << 30 if name in ("AS", "DATA", "STACK", "FSIZE") else 500
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    bundle.process["rlimits"] = [{"type": f"RLIMIT_{name}", "soft": value, "hard": value}]
    found = limits(runtime.ask(bundle, limits="cat /proc/self/limits")["limits"])
    assert found[f"Max {LIMITS[name]}"] == (str(value), str(value))


def test_a_limit_that_is_not_named_is_the_callers(runtime, bundle):
    bundle.process["rlimits"] = []
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = limits(runtime.ask(bundle, limits="cat /proc/self/limits")["limits"])
    assert found["Max open files"][1] == str(hard)


def test_no_limit_at_all(runtime, bundle):
    bundle.process["rlimits"] = [{"type": "RLIMIT_AS", "soft": 2**64 - 1, "hard": 2**64 - 1}]
    found = limits(runtime.ask(bundle, limits="cat /proc/self/limits")["limits"])
    assert found["Max address space"] == ("unlimited", "unlimited")


@pytest.mark.parametrize(
    "entries",
    [
        [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}],
        [{"type": "NOFILE", "soft": 1, "hard": 1}],
        [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 50}],
        pytest.param(
            [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}, {"type": "RLIMIT_CORE", "soft": 2, "hard": 2}],
            marks=deviation("runc", reason="sets both, if it may raise the first", sometimes=True),
        ),
    ],
    ids=["unknown", "without its prefix", "soft above hard", "twice"],
)
def test_a_limit_that_makes_no_sense(runtime, bundle, entries):
    bundle.process["rlimits"] = entries
    runtime.run(bundle, "true").failed()


@deviation("runc", reason="names the limit by its number")
def test_a_limit_above_ours_is_named(runtime, bundle):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": hard, "hard": hard + 1}]
    without = ("setpriv", "--bounding-set", "-sys_resource", "--")
    done = runtime.run(bundle, "true", prefix=without)
    words = f"set RLIMIT_NOFILE to {hard}:{hard + 1}: /process/rlimits/0: operation not permitted"
    done.failed(words, "CAP_SYS_RESOURCE")


@needs_sys_resource
def test_a_limit_may_be_raised(runtime, bundle):
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    bundle.process["rlimits"] = [{"type": "RLIMIT_NPROC", "soft": hard + 1, "hard": hard + 1}]
    found = limits(runtime.ask(bundle, limits="cat /proc/self/limits")["limits"])
    assert found["Max processes"] == (str(hard + 1),) * 2


@pytest.mark.parametrize("value", [0, 100, 1000])
@covers("/process/oomScoreAdj")
def test_oom_score(runtime, bundle, value):
    bundle.process["oomScoreAdj"] = value
    assert runtime.ask(bundle, score="cat /proc/self/oom_score_adj") == {"score": str(value)}


def test_an_oom_score_that_is_not_named_is_the_callers(runtime, bundle):
    with open("/proc/self/oom_score_adj") as own:
        assert runtime.ask(bundle, score="cat /proc/self/oom_score_adj") == {"score": own.read().strip()}


@pytest.mark.parametrize("value", [-1001, 1001])
def test_an_oom_score_out_of_range(runtime, bundle, value):
    bundle.process["oomScoreAdj"] = value
    runtime.run(bundle, "true").failed()


@deviation("runc", reason="does not know the field", before="1.2")
def test_scheduler(runtime, bundle):
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
    stat = runtime.ask(bundle, stat="cat /proc/self/stat")["stat"].rpartition(")")[2].split()
    assert (stat[16], stat[38]) == ("5", "3")  # nice; policy: SCHED_BATCH


@deviation("runc", reason="does not know the field", before="1.2")
def test_io_priority(runtime, bundle):
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    assert runtime.ask(bundle, priority="ionice -p $$") == {"priority": "best-effort: prio 6"}


@covers("/linux/personality/domain=LINUX")
def test_the_usual_personality(runtime, bundle):
    bundle.linux["personality"] = {"domain": "LINUX"}
    assert runtime.ask(bundle, machine="uname -m")["machine"] == os.uname().machine


@covers("/linux/personality/flags")
def test_flags_of_a_personality_are_ignored(runtime, bundle):
    """The specification knows none yet."""
    bundle.linux["personality"] = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
    assert runtime.ask(bundle, flags="cat /proc/self/personality") == {"flags": "00000000"}


@deviation("runc", reason="does not know the field", before="1.2")
@covers("/linux/personality/domain=LINUX32")
def test_personality(runtime, bundle):
    bundle.linux["personality"] = {"domain": "LINUX32"}
    assert runtime.ask(bundle, machine="uname -m")["machine"] in ("i686", "armv8l", "armv7l")


# -- sysctl ----------------------------------------------------------------------------------------------


@covers("/linux/sysctl")
def test_sysctl(runtime, bundle):
    bundle.linux["sysctl"] = {
        "kernel.shmmni": "1234", "net.ipv4.ip_forward": "1", "net/ipv4/ping_group_range": "0 10",
        "fs.mqueue.queues_max": "77", "kernel.sem": "32001 1024000002 502 32003",
    }  # fmt: skip
    answers = runtime.ask(
        bundle, shmmni="cat /proc/sys/kernel/shmmni", forward="cat /proc/sys/net/ipv4/ip_forward",
        ping="cat /proc/sys/net/ipv4/ping_group_range", queues="cat /proc/sys/fs/mqueue/queues_max",
        sem="cat /proc/sys/kernel/sem",
    )  # fmt: skip
    assert answers["shmmni"] == "1234"
    assert answers["forward"] == "1"
    assert answers["ping"].split() == ["0", "10"]
    assert answers["queues"] == "77"
    assert answers["sem"].split() == ["32001", "1024000002", "502", "32003"]


@pytest.mark.parametrize(
    ("key", "shared"),
    [
        ("kernel.pid_max", ""), ("vm.swappiness", ""), ("kernel.shmmni", "ipc"), ("kernel.hostname", ""),
        ("fs.mqueue.queues_max", "ipc"), ("net.ipv4.ip_forward", "network"), ("kernel.core_pattern", ""),
    ],
)  # fmt: skip
def test_a_setting_of_the_host_is_refused(runtime, bundle, key, shared):
    if shared:
        bundle.share(shared)
    path = "/proc/sys/" + key.replace(".", "/")
    with open(path) as file:
        before = file.read()
    bundle.linux["sysctl"] = {key: before.strip()}
    runtime.run(bundle, "true").failed("sysctl", key)
    with open(path) as file:
        assert file.read() == before


def test_a_setting_that_does_not_exist(runtime, bundle):
    bundle.linux["sysctl"] = {"net.ipv4.no_such_setting": "1"}
    runtime.run(bundle, "true").failed("no such file or directory", "no_such_setting")


def test_a_value_cannot_smuggle_another_setting(runtime, bundle):
    """CVE-2022-0811, whose value had one more assignment behind a +."""
    with open("/proc/sys/kernel/core_pattern") as file:
        before = file.read()
    bundle.linux["sysctl"] = {"kernel.shm_rmid_forced": "1+kernel.core_pattern=x"}
    runtime.run(bundle, "true").failed("invalid argument")
    with open("/proc/sys/kernel/core_pattern") as file:
        assert file.read() == before


@pytest.mark.parametrize(
    "key", ["net.ipv4.../../../kernel/pid_max", "net/../kernel/core_pattern", "net.ipv4..x"]
)
def test_a_key_cannot_climb(runtime, bundle, key):
    bundle.linux["sysctl"] = {key: "1"}
    runtime.run(bundle, "true").failed()


# -- capabilities ----------------------------------------------------------------------------------------

SETS = {"bounding": "Bnd", "effective": "Eff", "permitted": "Prm", "inheritable": "Inh", "ambient": "Amb"}


@covers("/process/capabilities/(bounding|effective|permitted|inheritable|ambient)")
def test_the_five_sets(runtime, bundle):
    """For a root without ambient capabilities execve makes permitted from inheritable and bounding: what
    a program that is not root has shows the sets as they were set."""
    given = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL", "CAP_CHOWN"],
        "ambient": ["CAP_KILL"],
    }
    bundle.process["capabilities"] = given
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    status = runtime.ask(bundle, status=STATUS)["status"]
    assert capabilities(status, "Bnd") == set(given["bounding"])
    assert capabilities(status, "Inh") == set(given["inheritable"])
    assert capabilities(status, "Amb") == {"CAP_KILL"}
    assert capabilities(status, "Prm") == capabilities(status, "Eff") == {"CAP_KILL"}


def test_capabilities_of_root(runtime, bundle):
    status = runtime.ask(bundle, status=STATUS)["status"]
    expected = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
    for which in ("Bnd", "Eff", "Prm"):
        assert capabilities(status, which) == expected
    assert capabilities(status, "Inh") == set()


def test_a_user_without_ambient_capabilities_has_none(runtime, bundle):
    """CVE-2016-8867"""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"].pop("ambient")
    status = runtime.ask(bundle, status=STATUS)["status"]
    for which in ("Eff", "Prm", "Amb", "Inh"):
        assert capabilities(status, which) == set()


@pytest.mark.parametrize("given", [None, {}, {"bounding": []}])
def test_without_capabilities_there_is_none(runtime, bundle, given):
    if given is None:
        del bundle.process["capabilities"]
    else:
        bundle.process["capabilities"] = given
    status = runtime.ask(bundle, status=STATUS)["status"]
    for which in SETS.values():
        assert capabilities(status, which) == set()


def test_every_capability_that_we_have(runtime, bundle):
    with open("/proc/self/status") as status:
        own = capabilities(status.read(), "Bnd")
    bundle.process["capabilities"] = {which: sorted(own) for which in ("bounding", "effective", "permitted")}
    status = runtime.ask(bundle, status=STATUS)["status"]
    assert capabilities(status, "Bnd") == capabilities(status, "Eff") == own
    assert len(own) > 30
    assert own <= {f"CAP_{name}" for name in CAPABILITIES}


def test_an_unknown_capability_is_a_warning(runtime, bundle):
    bundle.allow("CAP_OF_TOMORROW")
    done = runtime.run(bundle, "cat", "/proc/self/status").ok()
    assert "CAP_KILL" in capabilities(done.stdout, "Eff")
    assert "CAP_OF_TOMORROW" in done.stderr
    assert "warning" in done.stderr


@pytest.mark.parametrize("value", [True, False, None])
def test_no_new_privileges(runtime, bundle, value):
    if value is None:
        del bundle.process["noNewPrivileges"]
    else:
        bundle.process["noNewPrivileges"] = value
    assert fields(runtime.ask(bundle, status=STATUS)["status"])["NoNewPrivs"] == str(int(bool(value)))


@needs_x86_64
@covers("/process/noNewPrivileges")
def test_no_new_privileges_makes_set_user_id_harmless(runtime, bundle):
    elf.install(bundle.rootfs / "bin/effective", elf.syscall_program(GETEUID, result=True), 0o4755)
    bundle.process["user"] = {"uid": 77, "gid": 77}
    for value, expected in ((True, 77), (False, 0)):
        bundle.process["noNewPrivileges"] = value
        assert runtime.run(bundle, "/bin/effective").returncode == expected


# -- labels ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.path.exists("/sys/kernel/security/apparmor"), reason="AppArmor is on")
def test_an_apparmor_profile_where_there_is_no_apparmor(runtime, bundle):
    """A confinement that was asked for and cannot be had is never left out in silence."""
    bundle.process["apparmorProfile"] = "some-profile"
    assert "apparmor" in runtime.run(bundle, "true").failed().stderr.lower()


@pytest.mark.skipif(os.path.exists("/sys/fs/selinux"), reason="SELinux is on")
def test_a_selinux_label_where_there_is_no_selinux(runtime, bundle):
    bundle.process["selinuxLabel"] = "system_u:system_r:container_t:s0"
    assert "selinux" in runtime.run(bundle, "true").failed().stderr.lower()


# -- keyrings --------------------------------------------------------------------------------------------


def test_a_session_keyring_of_its_own(runtime, bundle, new_bundle):
    bundle.linux["maskedPaths"] = []
    found = runtime.ask(bundle, keys="cat /proc/keys")["keys"]
    assert f"_ses.{bundle.id}" in found
    other = new_bundle()
    other.linux["maskedPaths"] = []
    found = runtime.ask(other, options=("--no-new-keyring",), keys="cat /proc/keys")["keys"]
    assert f"_ses.{other.id}" not in found


def test_exec_is_in_the_containers_keyring(runtime, bundle):
    bundle.linux["maskedPaths"] = []
    runtime.launch(bundle, "sleep", "1000")
    assert f"_ses.{bundle.id}" in runtime.exec(bundle, "cat", "/proc/keys").ok().stdout


@needs_namespace("user")
def test_a_session_keyring_in_a_user_namespace(runtime, bundle):
    bundle.map_ids()
    bundle.linux["maskedPaths"] = []
    assert f"_ses.{bundle.id}" in runtime.ask(bundle, keys="cat /proc/keys")["keys"]
