"""plan.seccomp: what a profile becomes, and what it may not say. Programs are run by a machine of ours."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bpf import Filter

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.config import Seccomp, SeccompArg, SeccompSyscall
from pyrunc.plan.seccomp import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS, SeccompProgram, compile_seccomp

X86_64, X86, AARCH64, ARM, S390X, PPC64LE = (
    0xC000003E,
    0x40000003,
    0xC00000B7,
    0x40000028,
    0x80000016,
    0xC0000015,
)
KILL, KILL_PROCESS, TRAP, ERRNO, NOTIFY = 0, 0x80000000, 0x00030000, 0x00050000, 0x7FC00000
TRACE, LOG, ALLOW = 0x7FF00000, 0x7FFC0000, 0x7FFF0000
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
READ, WRITE, OPEN, SOCKET, GETPID, CLONE, MSEAL = 0, 1, 2, 41, 39, 56, 462
X32 = 1 << 30


def rule(*names: str, action: str = "ALLOW", errno_ret: int | None = None, args: Any = ()) -> SeccompSyscall:
    """`args`: (index, operator, value) or (index, operator, value, valueTwo)."""
    conditions = tuple(
        SeccompArg(
            index=arg[0],
            op=f"SCMP_CMP_{arg[1]}",
            value=arg[2],
            value_two=arg[3] if len(arg) > 3 else 0,
            origin=f"/linux/seccomp/syscalls/0/args/{number}",
        )
        for number, arg in enumerate(args)
    )
    return SeccompSyscall(
        names=names,
        action=f"SCMP_ACT_{action}",
        errno_ret=errno_ret,
        args=conditions,
        origin="/linux/seccomp/syscalls/0",
    )


def profile(*rules: SeccompSyscall, default: str = "ERRNO", **fields: Any) -> Seccomp:
    return Seccomp(default_action=f"SCMP_ACT_{default}", syscalls=rules, **fields)


def made(*rules: SeccompSyscall, machine: str = "x86_64", **fields: Any) -> Filter:
    program = compile_seccomp(profile(*rules, **fields), machine)
    return Filter(program.instructions, ">" if machine in ("s390x", "mips") else "<")


# --- actions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "errno_ret", "verdict"),
    [
        ("ALLOW", None, ALLOW),
        ("ERRNO", None, EPERM),
        ("ERRNO", 0, ERRNO),
        ("ERRNO", 22, ERRNO | 22),
        ("KILL", None, KILL),
        ("KILL_THREAD", None, KILL),
        ("KILL_PROCESS", None, KILL_PROCESS),
        ("LOG", None, LOG),
        ("NOTIFY", None, NOTIFY),
        ("TRACE", None, TRACE | errno.EPERM),
        ("TRACE", 7, TRACE | 7),
        ("TRAP", None, TRAP),
    ],
)
def test_actions(action, errno_ret, verdict):
    fields = {"listener_path": "/run/agent"} if action == "NOTIFY" else {}
    filter_ = made(
        rule("getpid", action=action, errno_ret=errno_ret), rule("mseal"), default="ALLOW", **fields
    )
    assert filter_.verdict(X86_64, GETPID) == verdict
    if action != "NOTIFY":
        filter_ = made(rule("mseal"), default=action, default_errno_ret=errno_ret)
        assert filter_.verdict(X86_64, GETPID) == verdict


def test_all_names_of_the_specification_are_offered():
    assert len(ACTIONS) == 9
    assert len(OPERATORS) == 7
    assert len(ARCHITECTURES) == 23
    assert len(FLAGS) == 4
    for names in (ACTIONS, OPERATORS, ARCHITECTURES, FLAGS):
        assert list(names) == sorted(names)


# --- flags ----------------------------------------------------------------------------------------

LOG_FLAG, SPEC_ALLOW_FLAG, NEW_LISTENER_FLAG, WAIT_KILLABLE_FLAG = 2, 4, 8, 32


@pytest.mark.parametrize(
    ("flags", "bits"),
    [
        (None, SPEC_ALLOW_FLAG),
        ((), 0),
        (("TSYNC",), 0),
        (("LOG",), LOG_FLAG),
        (("SPEC_ALLOW", "LOG"), SPEC_ALLOW_FLAG | LOG_FLAG),
        (("WAIT_KILLABLE_RECV",), 0),
    ],
)
def test_flags(flags, bits):
    names = None if flags is None else tuple(f"SECCOMP_FILTER_FLAG_{flag}" for flag in flags)
    program = compile_seccomp(profile(rule("read"), flags=names), "x86_64")
    assert (program.flags, program.has_listener) == (bits, False)


@pytest.mark.parametrize(
    ("flags", "bits"),
    [
        (None, SPEC_ALLOW_FLAG | NEW_LISTENER_FLAG),
        ((), NEW_LISTENER_FLAG),
        (("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",), WAIT_KILLABLE_FLAG | NEW_LISTENER_FLAG),
    ],
)
def test_a_rule_that_notifies_asks_for_a_listener(flags, bits):
    asked = profile(rule("mkdir", action="NOTIFY"), flags=flags, listener_path="/run/agent")
    program = compile_seccomp(asked, "x86_64")
    assert (program.flags, program.has_listener) == (bits, True)


def test_a_listener_path_without_such_a_rule_is_ignored():
    program = compile_seccomp(profile(rule("mkdir"), listener_path="/run/agent"), "x86_64")
    assert not program.has_listener


# --- which rule decides ---------------------------------------------------------------------------


def test_a_rule_with_the_default_action_says_nothing():
    filter_ = made(rule("read", action="ERRNO", errno_ret=1), rule("read", "mseal"))
    assert filter_.verdict(X86_64, READ) == ALLOW


def test_the_first_rule_without_conditions_decides():
    filter_ = made(
        rule("read", action="TRAP", args=[(0, "EQ", 1)]),
        rule("read", action="LOG"),
        rule("read", "mseal", action="ALLOW"),
    )
    assert filter_.verdict(X86_64, READ, (1,)) == LOG


def test_the_first_rule_whose_conditions_hold_decides():
    filter_ = made(
        rule("read", action="TRAP", args=[(0, "GE", 10)]),
        rule("read", action="LOG", args=[(0, "GE", 5)]),
        rule("mseal"),
    )
    assert [filter_.verdict(X86_64, READ, (value,)) for value in (4, 5, 10)] == [EPERM, LOG, TRAP]


def test_conditions_on_different_arguments_must_all_hold():
    filter_ = made(rule("read", args=[(0, "EQ", 1), (5, "EQ", 2)]), rule("mseal"))
    assert filter_.verdict(X86_64, READ, (1, 0, 0, 0, 0, 2)) == ALLOW
    assert filter_.verdict(X86_64, READ, (1, 0, 0, 0, 0, 3)) == EPERM
    assert filter_.verdict(X86_64, READ, (0, 0, 0, 0, 0, 2)) == EPERM


def test_two_conditions_on_one_argument_make_each_condition_a_rule():
    filter_ = made(rule("read", args=[(0, "EQ", 1), (0, "EQ", 2), (1, "EQ", 3)]), rule("mseal"))
    assert [filter_.verdict(X86_64, READ, (value,)) for value in (0, 1, 2)] == [EPERM, ALLOW, ALLOW]
    assert filter_.verdict(X86_64, READ, (0, 3)) == ALLOW


def test_names_that_an_architecture_does_not_have_are_ignored():
    filter_ = made(rule("chown32", "no_such_call", "read", "mseal"))
    assert filter_.verdict(X86_64, READ) == ALLOW


def test_duplicates_are_fine():
    filter_ = made(rule("read", "read", "mseal"), rule("read"))
    assert filter_.verdict(X86_64, READ) == ALLOW


# --- arguments ------------------------------------------------------------------------------------

VALUES = [
    0,
    1,
    5,
    6,
    0xFFFFFFFF,
    1 << 32,
    (1 << 32) + 5,
    5 << 32,
    (5 << 32) + 5,
    (1 << 63) + 5,
    (1 << 64) - 1,
]
HOLDS = {
    "EQ": lambda a, b, _: a == b,
    "NE": lambda a, b, _: a != b,
    "LT": lambda a, b, _: a < b,
    "LE": lambda a, b, _: a <= b,
    "GT": lambda a, b, _: a > b,
    "GE": lambda a, b, _: a >= b,
    "MASKED_EQ": lambda a, mask, b: a & mask == b & mask,
}


@pytest.mark.parametrize("operator", HOLDS)
@pytest.mark.parametrize(
    ("machine", "token", "number", "bits"),
    [
        ("x86_64", X86_64, READ, 64),
        ("i686", X86, 3, 32),
        ("x86_64", X86_64, X32, 32),
        ("s390x", S390X, 3, 64),
    ],
)
def test_operators_see_as_many_bits_as_the_abi_has(operator, machine, token, number, bits):
    seen = (1 << bits) - 1
    architectures = ("SCMP_ARCH_X32",) if machine == "x86_64" else ()
    for value in VALUES:
        for other in (0, 5, 5 << 32) if operator == "MASKED_EQ" else (0,):
            conditional = rule("read", args=[(1, operator, value, other)])
            filter_ = made(conditional, rule("mseal"), machine=machine, architectures=architectures)
            for argument in VALUES:
                holds = HOLDS[operator](argument & seen, value & seen, other & seen)
                assert filter_.verdict(token, number, (0, argument)) == (ALLOW if holds else EPERM)


# --- architectures --------------------------------------------------------------------------------


def test_the_native_architecture_is_always_there():
    filter_ = made(rule("read", "mseal"), architectures=("SCMP_ARCH_X86",))
    assert filter_.verdict(X86_64, READ) == ALLOW
    assert filter_.verdict(X86, 3) == ALLOW
    assert filter_.verdict(X86, 4) == EPERM


def test_the_native_architecture_is_asked_for_first():
    filter_ = made(rule("read", "mseal"), architectures=("SCMP_ARCH_X86", "SCMP_ARCH_X86_64"))
    load, test = filter_.code[:2]
    assert (load[0], load[3]) == (0x20, 4)
    assert (test[0], test[3]) == (0x15, X86_64)


def test_a_mask_without_bits_always_holds():
    filter_ = made(rule("read", args=[(0, "MASKED_EQ", 0, 5)]), rule("mseal"))
    assert filter_.verdict(X86_64, READ, (7,)) == ALLOW


def test_a_call_of_another_architecture_kills():
    filter_ = made(rule("read", "mseal"), default="ALLOW")
    assert filter_.verdict(AARCH64, 63) == KILL


def test_x32_kills_unless_it_is_listed():
    filter_ = made(rule("read", "mseal"))
    assert [filter_.verdict(X86_64, number) for number in (X32, X32 + 1, 1 << 31, 0xFFFFFFFE)] == [KILL] * 4
    assert filter_.verdict(X86_64, 0xFFFFFFFF) == EPERM  # a call that a tracer made void

    filter_ = made(rule("read", "mseal"), architectures=("SCMP_ARCH_X32",))
    assert filter_.verdict(X86_64, X32) == ALLOW
    assert filter_.verdict(X86_64, X32 + 1) == EPERM
    assert [filter_.verdict(X86_64, X32 + number) for number in (MSEAL, MSEAL + 1)] == [ALLOW, ENOSYS]
    assert filter_.verdict(X86_64, 1) == EPERM


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_compiles(architecture):
    machines = {"LE": "x86_64", "BE": "s390x"}
    for machine in machines.values():
        try:
            made(rule("read", "socket", "mseal"), machine=machine, architectures=(architecture,))
        except PyruncError as error:
            assert error.where == "/linux/seccomp/architectures/0"
            assert "byte order" in error.why
        else:
            break
    else:
        pytest.fail("neither byte order")


@pytest.mark.parametrize(
    ("machine", "token", "number"),
    [
        ("aarch64", AARCH64, 63),
        ("armv7l", ARM, 3),
        ("ppc64le", PPC64LE, 3),
        ("riscv64", 0xC00000F3, 63),
        ("loongarch64", 0xC0000102, 63),
        ("s390x", S390X, 3),
        ("mips", 0x8, 4003),
    ],
)
def test_machines(machine, token, number):
    filter_ = made(rule("read", "mseal"), machine=machine)
    assert filter_.verdict(token, number) == ALLOW
    assert filter_.verdict(token, number + 1) == EPERM
    assert filter_.verdict(X86_64, 0) == KILL


# --- socketcall(2), ipc(2) ------------------------------------------------------------------------


def test_socket_calls_have_two_ways_on_32_bit_x86():
    filter_ = made(rule("socket", "accept", "shmget", "mseal"), architectures=("SCMP_ARCH_X86",))
    assert filter_.verdict(X86, 359) == ALLOW
    assert [filter_.verdict(X86, 102, (call,)) for call in (1, 2, 5)] == [ALLOW, EPERM, ALLOW]
    assert [filter_.verdict(X86, 117, (call,)) for call in (22, 23)] == [EPERM, ALLOW]
    assert filter_.verdict(X86, 395) == ALLOW


def test_a_rule_for_socketcall_itself_goes_before():
    filter_ = made(rule("socket"), rule("socketcall", "mseal", action="TRAP"), machine="i686")
    assert filter_.verdict(X86, 102, (1,)) == TRAP


def test_conditions_of_a_multiplexed_call():
    """Argument 0 cannot be seen behind the pointer; the others are those of socketcall. As libseccomp."""
    filter_ = made(rule("socket", args=[(0, "EQ", 2), (2, "EQ", 9)]), rule("mseal"), machine="i686")
    assert filter_.verdict(X86, 359, (2, 0, 9)) == ALLOW
    assert filter_.verdict(X86, 359, (3, 0, 9)) == EPERM
    assert filter_.verdict(X86, 102, (1, 0, 9)) == ALLOW
    assert filter_.verdict(X86, 102, (1, 0, 8)) == EPERM


# --- calls that the profile cannot know -----------------------------------------------------------


@pytest.mark.parametrize("default", ["ERRNO", "KILL", "KILL_PROCESS", "TRAP"])
def test_calls_newer_than_the_profile_do_not_exist(default):
    filter_ = made(rule("read", "openat2"), default=default)
    assert filter_.verdict(X86_64, 437) == ALLOW
    assert filter_.verdict(X86_64, 436) != ENOSYS
    assert [filter_.verdict(X86_64, number) for number in (438, 10_000, X32 - 1)] == [ENOSYS] * 3


@pytest.mark.parametrize(("default", "verdict"), [("ALLOW", ALLOW), ("LOG", LOG), ("TRACE", TRACE | 1)])
def test_but_for_a_default_that_lets_calls_through(default, verdict):
    assert made(rule("read", "openat2", action="TRAP"), default=default).verdict(X86_64, 438) == verdict


def test_a_rule_with_the_default_action_counts_as_knowing():
    filter_ = made(rule("read"), rule("openat2", action="ERRNO"))
    assert [filter_.verdict(X86_64, number) for number in (436, 437, 438)] == [EPERM, EPERM, ENOSYS]


def test_each_architecture_has_its_own_newest_call():
    filter_ = made(rule("read", "fstatat64"), architectures=("SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"))
    assert filter_.verdict(X86_64, 1) == ENOSYS
    assert [filter_.verdict(X86, number) for number in (299, 300, 301)] == [EPERM, ALLOW, ENOSYS]


def test_an_architecture_without_a_known_call_keeps_the_default():
    filter_ = made(rule("chown32"), architectures=("SCMP_ARCH_X86",))
    assert filter_.verdict(X86_64, 500) == EPERM


def test_private_calls_of_arm_are_not_new():
    filter_ = made(rule("read", "openat2", "set_tls"), machine="aarch64", architectures=("SCMP_ARCH_ARM",))
    assert [filter_.verdict(ARM, number) for number in (436, 437, 438)] == [EPERM, ALLOW, ENOSYS]
    assert [filter_.verdict(ARM, number) for number in (0xEFFFF, 0xF0001, 0xF0005)] == [ENOSYS, EPERM, ALLOW]


def test_both_names_of_a_call_of_arm():
    for name in ("arm_sync_file_range", "sync_file_range2"):
        assert made(rule(name, "mseal"), machine="armv7l").verdict(ARM, 341) == ALLOW


def test_number_0_of_s390_is_no_call():
    assert made(rule("read", "mseal"), machine="s390x").verdict(S390X, 0) == ENOSYS
    assert made(rule("read", "mseal"), machine="s390x").verdict(S390X, 1) == EPERM
    assert made(rule("read", "mseal", action="TRAP"), machine="s390x", default="LOG").verdict(S390X, 0) == LOG


# --- what a profile may not say -------------------------------------------------------------------

AT = "/linux/seccomp"
NOTIFY_RULE = rule("mkdir", action="NOTIFY")


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (profile(default="DENY"), f"{AT}/defaultAction"),
        (profile(default="NOTIFY", listener_path="/run/agent"), f"{AT}/defaultAction"),
        (profile(default="ALLOW", default_errno_ret=1), f"{AT}/defaultErrnoRet"),
        (profile(default_errno_ret=1 << 16), f"{AT}/defaultErrnoRet"),
        (profile(architectures=("SCMP_ARCH_X86", "SCMP_ARCH_Z80")), f"{AT}/architectures/1"),
        (profile(architectures=("SCMP_ARCH_S390X",)), f"{AT}/architectures/0"),
        (profile(flags=("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_X")), f"{AT}/flags/1"),
        (profile(listener_metadata="m"), f"{AT}/listenerMetadata"),
        (profile(NOTIFY_RULE), f"{AT}/syscalls/0/action"),
        (
            profile(rule("read", "write", action="NOTIFY"), listener_path="/run/agent"),
            f"{AT}/syscalls/0/names",
        ),
        (profile(rule("read", action="PERMIT")), f"{AT}/syscalls/0/action"),
        (profile(rule("read", action="TRAP", errno_ret=1)), f"{AT}/syscalls/0/errnoRet"),
        (profile(rule("read", action="ERRNO", errno_ret=-1)), f"{AT}/syscalls/0/errnoRet"),
        (profile(rule("read", "")), f"{AT}/syscalls/0/names"),
        (profile(rule("read", args=[(0, "EQ", 0), (1, "LIKE", 0)])), f"{AT}/syscalls/0/args/1/op"),
        (profile(rule("read", action="ERRNO", args=[(0, "LIKE", 0)])), f"{AT}/syscalls/0/args/0/op"),
        (profile(rule("read", args=[(6, "EQ", 0)])), f"{AT}/syscalls/0/args/0/index"),
        (profile(rule("read", args=[(-1, "EQ", 0)])), f"{AT}/syscalls/0/args/0/index"),
        (profile(rule("read", args=[(0, "EQ", 1 << 64)])), f"{AT}/syscalls/0/args/0/value"),
        (profile(rule("read", args=[(0, "MASKED_EQ", 1, -1)])), f"{AT}/syscalls/0/args/0/valueTwo"),
    ],
)
def test_the_pointer_of_what_is_wrong(wrong, where):
    with pytest.raises(PyruncError) as caught:
        compile_seccomp(wrong, "x86_64")
    assert (caught.value.kind, caught.value.where) == (INVALID, where)
    assert caught.value.why


def test_an_unknown_machine():
    with pytest.raises(PyruncError) as caught:
        compile_seccomp(profile(rule("read")), "vax")
    assert (caught.value.kind, caught.value.where) == (UNSUPPORTED, "vax")


def test_more_than_the_kernel_takes():
    rules = [rule("read", args=[(0, "EQ", value)]) for value in range(1100)]
    with pytest.raises(PyruncError) as caught:
        compile_seccomp(profile(*rules), "x86_64")
    assert (caught.value.kind, caught.value.where) == (INVALID, AT)
    assert "4096" in caught.value.why


def test_a_long_program_that_it_takes():
    rules = [rule("read", args=[(0, "EQ", value)]) for value in range(0, 1000, 2)]
    filter_ = made(*rules, rule("mseal"))
    assert len(filter_.code) > 2000
    assert [filter_.verdict(X86_64, READ, (value,)) for value in (0, 1, 997, 998)] == [
        ALLOW,
        EPERM,
        EPERM,
        ALLOW,
    ]
    assert filter_.verdict(X86_64, MSEAL) == ALLOW


def test_equal_profiles_make_equal_programs():
    one, two = (compile_seccomp(profile(rule("read", "write")), "x86_64") for _ in range(2))
    assert one == two
    assert isinstance(one, SeccompProgram)


# --- any profile, against the rules as the docstring says them ------------------------------------

NUMBERS = {"read": READ, "write": WRITE, "open": OPEN, "socket": SOCKET, "clone": CLONE, "mseal": MSEAL}
VERDICTS = {"ALLOW": ALLOW, "LOG": LOG, "TRAP": TRAP, "KILL_PROCESS": KILL_PROCESS, "ERRNO": EPERM}
conditions = st.tuples(
    st.integers(0, 5), st.sampled_from(sorted(HOLDS)), st.sampled_from(VALUES), st.sampled_from(VALUES)
)
rules = st.builds(
    lambda names, action, args: rule(*names, action=action, args=args),
    st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=3),
    st.sampled_from(sorted(VERDICTS)),
    st.lists(conditions, max_size=3),
)


def expected(profile_rules: list[SeccompSyscall], default: str, number: int, arguments: list[int]) -> int:
    def holds(arg: SeccompArg) -> bool:
        return HOLDS[arg.op.removeprefix("SCMP_CMP_")](arguments[arg.index], arg.value, arg.value_two)

    known = [NUMBERS[name] for each in profile_rules for name in each.names]
    if known and number > max(known) and default not in ("ALLOW", "LOG"):
        return ENOSYS
    about = [each for each in profile_rules if number in (NUMBERS[name] for name in each.names)]
    about = [each for each in about if each.action != f"SCMP_ACT_{default}"]
    for each in sorted(about, key=lambda each: bool(each.args)):
        indices = [arg.index for arg in each.args]
        enough = all if len(set(indices)) == len(indices) else any
        if not each.args or enough(map(holds, each.args)):
            return VERDICTS[each.action.removeprefix("SCMP_ACT_")]
    return VERDICTS[default]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(rules, max_size=6),
    st.sampled_from(sorted(VERDICTS)),
    st.lists(st.lists(st.sampled_from(VALUES), min_size=6, max_size=6), min_size=3, max_size=3),
)
def test_any_profile(profile_rules, default, calls):
    filter_ = made(*profile_rules, default=default)
    for number in (*NUMBERS.values(), 3, 40, 500):
        for arguments in calls:
            assert filter_.verdict(X86_64, number, arguments) == expected(
                profile_rules, default, number, arguments
            )
