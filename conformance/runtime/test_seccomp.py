"""seccomp, by system calls that busybox makes: mkdir, and chmod for its arguments."""

import os
import stat

import pytest
from support.seccomp import Agent

from conformance.clauses import requirement

MKDIR = ["mkdir", "mkdirat"]
_ENOUGH = """
    access arch_prctl brk capget capset chdir clone clone3 close close_range dup dup2 dup3 epoll_create1
    epoll_ctl epoll_pwait eventfd2 execve exit exit_group faccessat faccessat2 fchdir fcntl fork fstat
    fstatfs futex getcwd getdents64 getegid geteuid getgid getpgid getpgrp getpid getppid getrandom gettid
    getuid ioctl kill lseek lstat madvise mmap mprotect munmap nanosleep newfstatat open openat openat2
    pipe2 poll prctl pread64 prlimit64 read readlink readlinkat rseq rt_sigaction rt_sigprocmask
    rt_sigreturn sched_getaffinity sched_yield seccomp set_robust_list set_tid_address setgid setgroups
    setpgid setresgid setresuid setsid setuid sigaltstack stat statfs statx sysinfo tgkill umask uname
    vfork wait4 write writev
"""
ENOUGH_FOR_AN_ECHO = _ENOUGH.split()


@pytest.fixture
def filtered(runtime, bundle):
    """Makes a directory in a container with this filter; gives what it said."""

    def run(filter):
        bundle.mount("/data", "tmpfs", "tmpfs")
        bundle.linux["seccomp"] = filter
        return runtime.ask(bundle, mkdir="mkdir /data/new && echo made", mode="chmod 700 /data && echo done")

    return run


def rule(action, *names, **more):
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": list(names), "action": action, **more}]}


@requirement("SeccompApplied", "SeccompErrnoRet")
def test_errno_without_a_number_is_eperm(filtered):
    answers = filtered(rule("SCMP_ACT_ERRNO", *MKDIR))
    assert "Operation not permitted" in answers["mkdir"]
    assert answers["mode"] == "done"


@requirement("SeccompErrnoRet")
@pytest.mark.parametrize(("number", "text"), [(28, "No space left"), (38, "not implemented")])
def test_errno_with_a_number(filtered, number, text):
    assert text in filtered(rule("SCMP_ACT_ERRNO", *MKDIR, errnoRet=number))["mkdir"]


@requirement("SeccompApplied")
@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"])
def test_kill(runtime, bundle, action):
    bundle.linux["seccomp"] = rule(action, *MKDIR)
    done = runtime.run(bundle, "mkdir", "/tmp/new")
    assert done.returncode == 128 + 31, "not ended by SIGSYS"


@requirement("SeccompApplied")
def test_trap_sends_sigsys(runtime, bundle):
    bundle.linux["seccomp"] = rule("SCMP_ACT_TRAP", *MKDIR)
    assert runtime.run(bundle, "mkdir", "/tmp/new").returncode == 128 + 31


@requirement("SeccompApplied")
@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"])
def test_allow_and_log(filtered, action):
    assert filtered(rule(action, *MKDIR))["mkdir"] == "made"


@requirement("SeccompDefaultAction", "SeccompErrnoRet")
def test_the_default_action(runtime, bundle):
    """All that a runtime and busybox need for an echo is allowed, mkdir is not."""
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 28,
        "syscalls": [{"names": ENOUGH_FOR_AN_ECHO, "action": "SCMP_ACT_ALLOW"}],
    }
    answers = runtime.ask(bundle, mkdir="mkdir /tmp/new", echo="echo works")
    assert "No space left" in answers["mkdir"]
    assert answers["echo"] == "works"


@requirement("SeccompArgs")
@pytest.mark.parametrize(
    ("op", "value", "blocked"),
    [("SCMP_CMP_EQ", 0o700, True), ("SCMP_CMP_EQ", 0o755, False), ("SCMP_CMP_NE", 0o755, True),
     ("SCMP_CMP_GT", 0o677, True), ("SCMP_CMP_LT", 0o700, False), ("SCMP_CMP_GE", 0o700, True),
     ("SCMP_CMP_LE", 0o677, False)],
)  # fmt: skip
def test_arguments_narrow_a_rule(filtered, op, value, blocked):
    args = [{"index": 1, "value": value, "op": op}]
    answers = filtered(rule("SCMP_ACT_ERRNO", "chmod", args=args))
    assert (answers["mode"] != "done") == blocked


@requirement("SeccompArgs")
@pytest.mark.parametrize(("wanted", "blocked"), [(0o700, True), (0o100, False)])
def test_a_masked_argument(filtered, wanted, blocked):
    """The mode, of which only the owner's bits count, is what was wanted."""
    args = [{"index": 1, "value": 0o700, "valueTwo": wanted, "op": "SCMP_CMP_MASKED_EQ"}]
    assert (filtered(rule("SCMP_ACT_ERRNO", "chmod", args=args))["mode"] != "done") == blocked


@requirement("SeccompApplied")
def test_an_unknown_system_call_is_passed_over(filtered):
    assert "not permitted" in filtered(rule("SCMP_ACT_ERRNO", *MKDIR, "call_of_the_future"))["mkdir"]


@requirement("SeccSyscallsNamesRequired")
def test_a_rule_without_names(bundle, refused):
    bundle.linux["seccomp"] = rule("SCMP_ACT_ERRNO")
    refused()


@requirement("SeccompUnknownAction", "ValidValues")
@pytest.mark.parametrize("where", ["default", "rule", "architecture", "operator"])
def test_a_word_that_is_not_known(runtime, bundle, where):
    filter = rule("SCMP_ACT_ERRNO", *MKDIR)
    if where == "default":
        filter["defaultAction"] = "SCMP_ACT_NONE"
    elif where == "rule":
        filter["syscalls"][0]["action"] = "SCMP_ACT_NONE"
    elif where == "architecture":
        filter["architectures"] = ["SCMP_ARCH_NONE"]
    else:
        filter["syscalls"][0]["args"] = [{"index": 0, "value": 1, "op": "SCMP_CMP_NONE"}]
    bundle.linux["seccomp"] = filter
    assert runtime.run(bundle, "true").returncode != 0


@requirement("SeccompErrnoRetError")
@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_ALLOW"])
def test_an_errno_for_an_action_that_has_none(runtime, bundle, action):
    bundle.linux["seccomp"] = rule(action, *MKDIR, errnoRet=5)
    bundle.linux["seccomp"]["defaultAction"] = "SCMP_ACT_LOG"
    assert runtime.run(bundle, "true").returncode != 0


@requirement("SeccompListenerWithoutNotify")
def test_notify_without_a_listener(runtime, bundle):
    bundle.linux["seccomp"] = rule("SCMP_ACT_NOTIFY", *MKDIR)
    assert runtime.run(bundle, "true").returncode != 0


@pytest.fixture
def listener(work):
    made = Agent(work / "agent.sock")
    yield made
    made.close()


@requirement("SeccompListenerState", "SeccompListenerOnce")
def test_a_listener_gets_the_state_and_the_filter(runtime, bundle, listener):
    bundle.config["annotations"] = {"org.example.key": "value"}
    notify = rule("SCMP_ACT_NOTIFY", *MKDIR)
    bundle.linux["seccomp"] = {**notify, "listenerPath": str(listener.path), "listenerMetadata": "for you"}
    created = runtime.create(bundle, "sh", "-c", "mkdir /tmp/new; echo over").ok()
    runtime.start(bundle).ok()  # the filter may be loaded as late as that
    state, filter = listener.accept()
    assert state["ociVersion"].startswith("1.")
    assert state["fds"] == ["seccompFd"]
    assert state["pid"] == runtime.pid(bundle)
    assert state["metadata"] == "for you"
    assert state["state"]["id"] == bundle.id
    assert state["state"]["status"] in ("creating", "created", "running")
    assert state["state"]["bundle"] == str(bundle.path)
    assert state["state"]["annotations"] == {"org.example.key": "value"}
    assert not stat.S_ISREG(os.fstat(filter).st_mode)
    listener.deny(filter, 39)  # ENOTEMPTY, which mkdir has no other reason to say
    runtime.until_status(bundle, "stopped")
    assert "not empty" in created.stderr
    assert created.stdout == "over\n"
    listener.listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.listener.accept()


@requirement("SeccompListenerMetadataAlone")
def test_metadata_without_a_listener(runtime, bundle):
    bundle.linux["seccomp"] = {**rule("SCMP_ACT_ERRNO", *MKDIR), "listenerMetadata": "for nobody"}
    assert runtime.run(bundle, "true").returncode != 0


@requirement("SeccompListenerFailure")
def test_a_listener_that_is_not_there(runtime, bundle, work):
    bundle.linux["seccomp"] = {**rule("SCMP_ACT_NOTIFY", *MKDIR), "listenerPath": str(work / "nobody")}
    assert runtime.run(bundle, "true").returncode != 0
