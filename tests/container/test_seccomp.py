"""linux.seccomp: the kernel's verdict on single system calls, made by tiny programs."""

import errno
import platform

import pytest
from support import elf
from support.facts import fields
from support.fields import covers
from support.host import needs_x86_64
from support.marks import deviation
from support.seccomp import Agent
from support.waiting import until

MKDIR = ["mkdir", "mkdirat"]
_NEWER = deviation("runc", reason="its libseccomp is older than that", before="1.3")
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}.get(platform.machine())
SIGSYS = 31

# What a static program and a runtime's last steps before it need.
BASIC = (  # noqa: SIM905
    "access arch_prctl brk capget capset chdir clone clone3 close close_range dup dup2 dup3 epoll_create1 "
    "epoll_ctl epoll_pwait execve execveat exit exit_group faccessat faccessat2 fchdir fchown fcntl fstat "
    "fstatfs futex getcwd getdents64 getegid geteuid getgid getgroups getpid getppid getrandom getrlimit "
    "gettid getuid ioctl kill lseek lstat madvise mmap mprotect munmap nanosleep newfstatat open openat "
    "openat2 pipe2 poll ppoll prctl pread64 prlimit64 read readlink readlinkat rseq rt_sigaction "
    "rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield seccomp sendmsg set_robust_list "
    "set_tid_address setgid setgroups setresgid setresuid setsid setuid sigaltstack stat statfs statx tgkill "
    "umask uname unlinkat wait4 waitid write writev"
).split()


def profile(default="SCMP_ACT_ALLOW", *rules, **more):
    return {"defaultAction": default, "syscalls": list(rules), **more}


def rule(names, action="SCMP_ACT_ERRNO", **more):
    return {"names": [names] if isinstance(names, str) else names, "action": action, **more}


@covers("/linux/seccomp/syscalls/*/(names|action=SCMP_ACT_ERRNO)")
@covers("/linux/seccomp/defaultAction=SCMP_ACT_ALLOW")
def test_an_errno(runtime, bundle):
    bundle.writable().linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule(MKDIR))
    answers = runtime.ask(bundle, make="mkdir /tmp/x || true", status="cat /proc/self/status")
    assert answers["make"] == "mkdir: can't create directory '/tmp/x': Operation not permitted"
    assert fields(answers["status"])["Seccomp"] == "2"
    assert not (bundle.rootfs / "tmp/x").exists()


@pytest.mark.parametrize("nnp", [True, False])
def test_with_and_without_new_privileges(runtime, bundle, nnp):
    """Without no_new_privs the filter can only be loaded while we have CAP_SYS_ADMIN."""
    bundle.process["noNewPrivileges"] = nnp
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule(MKDIR))
    answers = runtime.ask(bundle, make="mkdir /tmp/x || true", status="cat /proc/self/status")
    assert "Operation not permitted" in answers["make"]
    assert fields(answers["status"])["NoNewPrivs"] == str(int(nnp))
    assert fields(answers["status"])["Seccomp"] == "2"


def test_exec_is_confined_too(runtime, bundle):
    bundle.linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule(MKDIR))
    runtime.launch(bundle, "sleep", "1000")
    answers = runtime.ask_exec(bundle, make="mkdir /tmp/x || true", status="cat /proc/self/status")
    assert "Operation not permitted" in answers["make"]
    assert fields(answers["status"])["Seccomp"] == "2"


def test_no_profile_no_filter(runtime, bundle):
    assert fields(runtime.ask(bundle, status="cat /proc/self/status")["status"])["Seccomp"] == "0"


@pytest.mark.parametrize(
    "action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"]
)
@covers("/linux/seccomp/syscalls/*/action={action}")
def test_actions_that_end_the_process(runtime, bundle, action):
    bundle.linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule(MKDIR, action))
    assert runtime.ask(bundle, status="mkdir /tmp/x; echo $?")["status"].split()[-1] == str(128 + SIGSYS)


@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"])
@covers("/linux/seccomp/syscalls/*/action={action}")
def test_actions_that_let_it_pass(runtime, bundle, action):
    bundle.writable().linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule(MKDIR, action))
    assert runtime.ask(bundle, status="mkdir /tmp/x; echo $?") == {"status": "0"}


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("SCMP_ACT_KILL", 128 + SIGSYS), ("SCMP_ACT_KILL_THREAD", 128 + SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", 128 + SIGSYS), ("SCMP_ACT_TRAP", 128 + SIGSYS),
        ("SCMP_ACT_LOG", 0), ("SCMP_ACT_TRACE", 1),
    ],
)  # fmt: skip
@covers("/linux/seccomp/defaultAction={action}")
def test_an_action_for_what_is_not_named(runtime, bundle, action, status):
    """Without a tracer there is no such call (ENOSYS)."""
    bundle.writable().linux["seccomp"] = profile(action, rule([*BASIC, "fork", "vfork"], "SCMP_ACT_ALLOW"))
    script = "mkdir /tmp/x; echo $?"
    answer = runtime.ask(bundle, status=script)["status"].split()
    assert answer[-1] == str(status)
    assert ("implemented" in answer) == (action == "SCMP_ACT_TRACE")


@covers("/linux/seccomp/syscalls/*/action=SCMP_ACT_TRACE")
def test_without_a_tracer_a_traced_call_is_unknown(runtime, bundle):
    bundle.writable().linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule(MKDIR, "SCMP_ACT_TRACE"))
    assert "Function not implemented" in runtime.ask(bundle, make="mkdir /tmp/x || true")["make"]


@covers("/linux/seccomp/defaultAction=SCMP_ACT_NOTIFY")
def test_a_listener_cannot_be_asked_for_everything(runtime, bundle, work):
    """Its descriptor could not be handed over any more: as in runc, an error."""
    bundle.linux["seccomp"] = profile("SCMP_ACT_NOTIFY", listenerPath=str(work / "agent.sock"))
    runtime.run(bundle, "true").failed("NOTIFY")


@needs_x86_64
class TestSystemCalls:
    """dup2 of a closed descriptor fails with EBADF, unless the filter comes first, with 99."""

    DUP2, SETHOSTNAME, UNKNOWN = 33, 170, 1000

    def result(self, runtime, bundle, number, *arguments):
        elf.install(bundle.rootfs / "bin/call", elf.syscall_program(number, *arguments))
        done = runtime.run(bundle, "/bin/call")
        assert done.stderr == "", done
        return done.returncode

    @pytest.mark.parametrize(
        ("op", "value", "two", "matching", "other"),
        [
            ("SCMP_CMP_EQ", 300, 0, [300], [299, 301]),
            ("SCMP_CMP_NE", 300, 0, [299, 301], [300]),
            ("SCMP_CMP_LT", 300, 0, [299], [300, 301]),
            ("SCMP_CMP_LE", 300, 0, [299, 300], [301]),
            ("SCMP_CMP_GE", 300, 0, [300, 301], [299]),
            ("SCMP_CMP_GT", 300, 0, [301], [299, 300]),
            ("SCMP_CMP_MASKED_EQ", 0xF0, 0x30, [0x130, 0x23F], [0x140]),
        ],
    )
    @covers("/linux/seccomp/syscalls/*/args/*/(op={op}|index|value|valueTwo)")
    @covers("/linux/seccomp/syscalls/*/errnoRet")
    def test_a_condition(self, runtime, bundle, op, value, two, matching, other):
        condition = {"index": 0, "value": value, "valueTwo": two, "op": op}
        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ALLOW", rule("dup2", errnoRet=99, args=[condition]), architectures=[NATIVE]
        )
        for argument in matching:
            assert self.result(runtime, bundle, self.DUP2, argument, 400) == 99, argument
        for argument in other:
            assert self.result(runtime, bundle, self.DUP2, argument, 400) == errno.EBADF, argument

    def test_conditions_on_one_argument_are_alternatives_on_several_all_must_hold(self, runtime, bundle):
        def equal(index, value):
            return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}

        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ALLOW", rule("dup2", errnoRet=99, args=[equal(0, 300), equal(0, 301)])
        )
        assert [self.result(runtime, bundle, self.DUP2, n, 400) for n in (300, 301, 302)] == [
            99,
            99,
            errno.EBADF,
        ]
        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ALLOW", rule("dup2", errnoRet=99, args=[equal(0, 300), equal(1, 400)])
        )
        assert self.result(runtime, bundle, self.DUP2, 300, 400) == 99
        assert self.result(runtime, bundle, self.DUP2, 300, 401) == errno.EBADF
        assert self.result(runtime, bundle, self.DUP2, 301, 400) == errno.EBADF

    def test_several_rules_for_one_call(self, runtime, bundle):
        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ALLOW",
            *(
                rule("dup2", errnoRet=90 + n, args=[{"index": 0, "value": 300 + n, "op": "SCMP_CMP_EQ"}])
                for n in range(3)
            ),
        )
        assert [self.result(runtime, bundle, self.DUP2, 300 + n, 400) for n in range(4)] == [
            90,
            91,
            92,
            errno.EBADF,
        ]

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, errno.EPERM),
            pytest.param({"defaultErrnoRet": 77}, 77, marks=covers("/linux/seccomp/defaultErrnoRet")),
        ],
    )
    @covers("/linux/seccomp/defaultAction=SCMP_ACT_ERRNO")
    def test_a_list_of_what_is_allowed(self, runtime, bundle, given, expected):
        bundle.linux["seccomp"] = profile("SCMP_ACT_ERRNO", rule(BASIC, "SCMP_ACT_ALLOW"), **given)
        assert self.result(runtime, bundle, self.DUP2, 300, 400) == errno.EBADF
        assert self.result(runtime, bundle, self.SETHOSTNAME, 0, 0) == expected

    @pytest.mark.parametrize(
        "given",
        [
            {"architectures": [NATIVE]},
            {"architectures": [NATIVE, "SCMP_ARCH_X86"]},
            pytest.param({}, marks=deviation("runc", reason="does so for the architectures named alone")),
        ],
        ids=["native", "with another", "none named"],
    )
    def test_a_call_newer_than_the_profile_is_unknown(self, runtime, bundle, given):
        """Otherwise a C library that tries a new call first would take EPERM for an answer."""
        bundle.linux["seccomp"] = profile("SCMP_ACT_ERRNO", rule(BASIC, "SCMP_ACT_ALLOW"), **given)
        assert self.result(runtime, bundle, self.UNKNOWN) == errno.ENOSYS
        assert self.result(runtime, bundle, self.SETHOSTNAME, 0, 0) == errno.EPERM

    @covers("/linux/seccomp/architectures=SCMP_ARCH_(X86_64|X86|X32)")
    def test_a_rule_holds_for_each_architecture_that_the_processor_has(self, runtime, bundle):
        """By three ways into the kernel; dup2 has two numbers for them."""
        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ALLOW", rule("dup2", errnoRet=99),
            architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        )  # fmt: skip
        assert self.result(runtime, bundle, self.DUP2, 300, 400) == 99
        assert self.result(runtime, bundle, self.DUP2 | 1 << 30, 300, 400) == 99
        elf.install(bundle.rootfs / "bin/call", elf.i386_syscall_program(63, 300, 400))
        assert runtime.run(bundle, "/bin/call").returncode == 99

    @pytest.mark.parametrize(
        "name",
        [
            *("AARCH64", "ARM", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC64LE"),
            *(pytest.param(name, marks=_NEWER) for name in ("LOONGARCH64", "RISCV64", "SH")),
        ],
    )
    @covers("/linux/seccomp/architectures=SCMP_ARCH_{name}")
    def test_an_architecture_of_other_machines(self, runtime, bundle, name):
        """A profile is written for many machines: what is for others changes nothing here."""
        architectures = [f"SCMP_ARCH_{name}"]
        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ALLOW", rule("dup2", errnoRet=99), architectures=architectures
        )
        assert self.result(runtime, bundle, self.DUP2, 300, 400) == 99

    @pytest.mark.parametrize(
        "name",
        [
            "M68K",
            "MIPS",
            "MIPS64",
            "MIPS64N32",
            "PARISC",
            "PARISC64",
            "PPC",
            "PPC64",
            "S390",
            "S390X",
            "SHEB",
        ],
    )
    @covers("/linux/seccomp/architectures=SCMP_ARCH_{name}")
    def test_an_architecture_of_the_other_byte_order(self, runtime, bundle, name):
        """As libseccomp has it: one program cannot look at the arguments of both."""
        architectures = [f"SCMP_ARCH_{name}"]
        bundle.linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule("dup2"), architectures=architectures)
        runtime.run(bundle, "true").failed("arch")

    def test_other_architectures_beside_ours(self, runtime, bundle):
        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ALLOW", rule("dup2", errnoRet=99),
            architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        )  # fmt: skip
        assert self.result(runtime, bundle, self.DUP2, 300, 400) == 99

    def test_our_architecture_need_not_be_named(self, runtime, bundle):
        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ALLOW", rule("dup2", errnoRet=99), architectures=["SCMP_ARCH_X86"]
        )
        assert self.result(runtime, bundle, self.DUP2, 300, 400) == 99

    def test_a_long_profile(self, runtime, bundle):
        rules = [rule(name, "SCMP_ACT_ALLOW") for name in BASIC]
        rules += [
            rule("ioctl", "SCMP_ACT_ALLOW", args=[{"index": 1, "value": n, "op": "SCMP_CMP_EQ"}])
            for n in range(200)
        ]
        rules.append(rule("dup2", errnoRet=99, args=[{"index": 1, "value": 400, "op": "SCMP_CMP_EQ"}]))
        bundle.linux["seccomp"] = profile(
            "SCMP_ACT_ERRNO", *[r for r in rules if r["names"] != ["dup2"] or "args" in r]
        )
        assert self.result(runtime, bundle, self.DUP2, 300, 400) == 99


def test_names_that_this_kernel_does_not_know_are_ignored(runtime, bundle):
    bundle.linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule([*MKDIR, "call_of_tomorrow"]))
    assert "not permitted" in runtime.ask(bundle, make="mkdir /tmp/x || true")["make"]


_FLAG = "/linux/seccomp/flags=SECCOMP_FILTER_FLAG_"
_NO_FLAGS = deviation("runc", reason="supports no flags", before="1.2")


@pytest.mark.parametrize(
    "flags",
    [
        [],
        pytest.param(["SECCOMP_FILTER_FLAG_LOG"], marks=[_NO_FLAGS, covers(f"{_FLAG}LOG")]),
        pytest.param(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"], marks=[_NO_FLAGS, covers(f"{_FLAG}SPEC_ALLOW")]),
        pytest.param(
            ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"],
            marks=[_NO_FLAGS, covers(f"{_FLAG}TSYNC")],
        ),
    ],
)
def test_flags(runtime, bundle, flags):
    bundle.linux["seccomp"] = profile("SCMP_ACT_ALLOW", rule(MKDIR), flags=flags)
    assert "not permitted" in runtime.ask(bundle, make="mkdir /tmp/x || true")["make"]


@pytest.mark.parametrize(
    "seccomp",
    [
        profile("SCMP_ACT_NONSENSE"),
        profile("SCMP_ACT_ALLOW", rule(MKDIR), flags=["SECCOMP_FILTER_FLAG_NONSENSE"]),
        profile("SCMP_ACT_ALLOW", rule(MKDIR, "SCMP_ACT_NONSENSE")),
        profile("SCMP_ACT_ALLOW", rule(MKDIR), architectures=["SCMP_ARCH_NONSENSE"]),
        profile("SCMP_ACT_ALLOW", rule(MKDIR, args=[{"index": 0, "value": 1, "op": "SCMP_CMP_NONSENSE"}])),
        profile("SCMP_ACT_ALLOW", rule(MKDIR, args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])),
        profile("SCMP_ACT_ALLOW", rule(MKDIR, "SCMP_ACT_NOTIFY")),
        profile("SCMP_ACT_NOTIFY", listenerPath="/nowhere"),
        profile("SCMP_ACT_ALLOW", rule("write", "SCMP_ACT_NOTIFY"), listenerPath="/nowhere"),
        profile("SCMP_ACT_ALLOW", rule(MKDIR, "SCMP_ACT_NOTIFY"), listenerPath="/nowhere"),
    ],
    ids=[
        "default action", "flag", "action", "architecture", "operator", "argument",
        "notify without a listener",        "notify by default", "notify for write", "nobody listens",
    ],
)  # fmt: skip
def test_a_profile_that_makes_no_sense(runtime, bundle, seccomp):
    bundle.linux["seccomp"] = seccomp
    done = runtime.run(bundle, "true").failed()
    assert "seccomp" in done.stderr or "listener" in done.stderr


@pytest.fixture
def agent(work):
    made = Agent(work / "agent.sock")
    yield made
    made.close()


@pytest.mark.parametrize("nnp", [True, False])
@covers("/linux/seccomp/(listenerPath|listenerMetadata)", "/linux/seccomp/syscalls/*/action=SCMP_ACT_NOTIFY")
def test_a_listener_decides(runtime, bundle, agent, nnp):
    bundle.process["noNewPrivileges"] = nnp
    bundle.config["annotations"] = {"key": "value"}
    bundle.linux["seccomp"] = profile(
        "SCMP_ACT_ALLOW", rule(MKDIR, "SCMP_ACT_NOTIFY"),
        listenerPath=str(agent.path), listenerMetadata="for you",
    )  # fmt: skip
    created = runtime.create(bundle, "sh", "-c", "mkdir /tmp/x; mkdir /tmp/y").ok()
    state, fd = agent.accept()
    assert state["fds"] == ["seccompFd"]
    assert state["metadata"] == "for you"
    assert state["pid"] == runtime.pid(bundle)
    assert state["state"]["id"] == bundle.id
    assert state["state"]["bundle"] == str(bundle.path)
    assert state["state"]["annotations"] == {"key": "value"}
    runtime.start(bundle).ok()
    agent.deny(fd, errno.ENOTEMPTY)
    agent.deny(fd, errno.EXDEV)
    runtime.until_status(bundle, "stopped")
    assert "Directory not empty" in created.stderr
    assert "link" in created.stderr


@deviation("runc", reason="does not know it", before="1.2")
@covers("/linux/seccomp/flags=SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
def test_a_notified_call_can_only_be_interrupted_to_kill(runtime, bundle, agent):
    """TERM reaches the program when the call is over."""
    bundle.linux["seccomp"] = profile(
        "SCMP_ACT_ALLOW", rule(MKDIR, "SCMP_ACT_NOTIFY"), listenerPath=str(agent.path),
        flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    )  # fmt: skip
    created = runtime.create(bundle, "sh", "-c", "trap 'echo caught' USR1; mkdir /tmp/x; echo end").ok()
    _, fd = agent.accept()
    runtime.start(bundle).ok()
    agent.deny(fd, errno.ENOTEMPTY)
    runtime.until_status(bundle, "stopped")
    assert created.stdout == "end\n"
    assert "Directory not empty" in created.stderr


def test_exec_has_a_listener_of_its_own(runtime, bundle, agent, work):
    bundle.linux["seccomp"] = profile(
        "SCMP_ACT_ALLOW", rule(MKDIR, "SCMP_ACT_NOTIFY"), listenerPath=str(agent.path)
    )
    runtime.launch(bundle, "sleep", "1000")
    agent.accept()
    options = ("--detach", "--pid-file", work / "pid")
    done = runtime.exec(bundle, "sh", "-c", "mkdir /tmp/x; echo end", options=options).ok()
    state, fd = agent.accept()
    assert state["pid"] == int((work / "pid").read_text())
    agent.deny(fd, errno.ENOTEMPTY)
    until(lambda: done.stdout == "end\n", "it goes on")
    assert "Directory not empty" in done.stderr
