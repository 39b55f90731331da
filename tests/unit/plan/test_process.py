"""plan.process: capabilities, environment, candidates, and the order of the stub's calls."""

from __future__ import annotations

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.kernel import const as c
from pyrunc.oci.config import CAPABILITIES, Capabilities, Config, Linux, Process, Rlimit, Seccomp, User
from pyrunc.plan.facts import HostFacts
from pyrunc.plan.ops import FillHome, FindProgram, SetOomScoreAdj
from pyrunc.plan.process import (
    EVERY_CAPABILITY,
    CapabilitySets,
    ProcessPlan,
    compile_profile,
    plan_capabilities,
    plan_environment,
    plan_process,
    program_candidates,
)
from pyrunc.plan.rareops import SetRlimit
from pyrunc.plan.seccomp import SeccompProgram
from pyrunc.plan.stub import STEP_SECCOMP, StubCall, Text, find_call
from pyrunc.record import replaced

FILTER = SeccompProgram(instructions=bytes(8), flags=0, has_listener=False)
LIMIT = Rlimit(type="RLIMIT_NOFILE", soft=10, hard=20, origin="/process/rlimits/0")


def process(**fields) -> Process:
    given = {"args": ("sh",), "cwd": "/", "env": ("PATH=/bin:/usr/bin", "HOME=/root"), **fields}
    return Process(**given)


def plan(seccomp: SeccompProgram | None = None, *, how: dict | None = None, **fields) -> ProcessPlan:
    given = {
        "facts": HostFacts(), "grantable": EVERY_CAPABILITY, "has_fifo": True, "may_set_groups": True,
        "preserve_fds": 0, **(how or {}),
    }  # fmt: skip
    return plan_process(process(**fields), Linux(), seccomp=seccomp, **given)


def names(planned: ProcessPlan) -> list[str]:
    return [call.call for call in planned.calls]


def bit(*wanted: str) -> int:
    return sum(1 << CAPABILITIES.index(name) for name in wanted)


# -- capabilities --------------------------------------------------------------------------------------


def test_no_capabilities_object_is_no_capability():
    assert plan_capabilities(None, EVERY_CAPABILITY) == CapabilitySets()


def test_each_set_is_its_own():
    sets = plan_capabilities(
        Capabilities(bounding=("CAP_KILL", "CAP_CHOWN"), permitted=("CAP_KILL",), effective=("CAP_KILL",)),
        EVERY_CAPABILITY,
    )
    assert sets.bounding == bit("CAP_KILL", "CAP_CHOWN")
    assert sets.permitted == sets.effective == bit("CAP_KILL")
    assert sets.inheritable == sets.ambient == 0


def test_effective_is_no_more_than_permitted():
    assert plan_capabilities(Capabilities(effective=("CAP_KILL",)), EVERY_CAPABILITY).effective == 0


@pytest.mark.parametrize("without", ["permitted", "inheritable"])
def test_ambient_is_no_more_than_permitted_and_inheritable(without):
    """Else podman's default would be refused by the kernel."""
    given = dict.fromkeys({"permitted", "inheritable", "ambient"} - {without}, ("CAP_KILL",))
    assert plan_capabilities(Capabilities(**given), EVERY_CAPABILITY).ambient == 0
    given[without] = ("CAP_KILL",)
    assert plan_capabilities(Capabilities(**given), EVERY_CAPABILITY).ambient == bit("CAP_KILL")


def test_what_the_host_cannot_give_or_nobody_knows_is_left_out():
    wanted = Capabilities(permitted=("CAP_KILL", "CAP_SYS_ADMIN", "CAP_UNHEARD_OF"))
    assert plan_capabilities(wanted, bit("CAP_KILL")).permitted == bit("CAP_KILL")


def test_the_bounding_set_loses_all_that_is_not_in_it():
    planned = plan(capabilities=Capabilities(bounding=("CAP_KILL",)))
    dropped = [call.args[1] for call in planned.calls if call.args[:1] == (c.PR_CAPBSET_DROP,)]
    assert dropped == [number for number in range(41) if number != CAPABILITIES.index("CAP_KILL")]


def test_no_capability_is_dropped_that_the_kernel_does_not_know():
    planned = plan(how={"facts": HostFacts(last_capability=37)})
    dropped = [call.args[1] for call in planned.calls if call.args[:1] == (c.PR_CAPBSET_DROP,)]
    assert dropped == list(range(38))


# -- environment and program ---------------------------------------------------------------------------


def test_of_duplicates_in_the_environment_the_last_wins():
    assert list(plan_environment(("A=1", "B=", "A=x=y")).items()) == [("A", "x=y"), ("B", "")]


@pytest.mark.parametrize("entry", ["NAME", "=value", ""])
def test_an_entry_that_is_no_variable(entry):
    with pytest.raises(PyruncError) as caught:
        plan_environment(("A=1", entry))
    assert (caught.value.kind, caught.value.where) == (INVALID, "/process/env/1")


@pytest.mark.parametrize(
    ("program", "path", "expected"),
    [
        ("sh", "/bin:/usr/bin", ("/bin/sh", "/usr/bin/sh")), ("/x/sh", "/bin", ("/x/sh",)),
        ("./sh", None, ("./sh",)), ("sh", "/bin::/x", ("/bin/sh", "./sh", "/x/sh")), ("sh", None, ()),
        ("sh", "", ()),
    ],
)  # fmt: skip
def test_where_a_program_is_looked_for(program, path, expected):
    assert program_candidates(program, path) == expected


def test_a_program_for_which_there_is_no_path_to_look_in():
    with pytest.raises(PyruncError, match=r"executable file not found in \$PATH") as caught:
        plan(env=("HOME=/",))
    assert caught.value.where == "/process/args/0"


@pytest.mark.parametrize(
    ("uid", "effective", "as_user"),
    [(0, (), False), (7, (), True), (7, ("CAP_DAC_OVERRIDE",), False), (7, ("CAP_KILL",), True)],
)
def test_with_whose_rights_it_is_looked_for(uid, effective, as_user):
    capabilities = Capabilities(effective=effective, permitted=effective)
    find = plan(user=User(uid=uid), capabilities=capabilities).last[0]
    assert isinstance(find, FindProgram)
    assert find.as_user is as_user


@pytest.mark.parametrize(("env", "filled"), [((), True), (("HOME=",), True), (("HOME=/x",), False)])
def test_a_missing_home_is_filled_in(env, filled):
    last = plan(env=("PATH=/bin", *env)).last
    assert [type(op) for op in last] == [FindProgram, *([FillHome] if filled else [])]


def test_listen_fds_are_announced():
    image = plan(how={"listen_fds": 2, "preserve_fds": 2}).stub.image
    assert b"LISTEN_FDS=2\0" in image
    assert b"LISTEN_PID=1\0" in image
    assert b"LISTEN_" not in plan().stub.image


# -- the order of calls --------------------------------------------------------------------------------


def test_with_no_new_privileges_seccomp_comes_last_of_all():
    planned = plan(FILTER, no_new_privileges=True)
    assert planned.calls[-1].call == "seccomp"
    order = [call.args[0] for call in planned.calls if call.call == "prctl"]
    assert order[-1] == c.PR_SET_NO_NEW_PRIVS
    assert planned.calls[-1].step == STEP_SECCOMP


def test_without_it_seccomp_comes_before_any_right_is_given_up():
    planned = plan(FILTER, rlimits=(LIMIT,))
    assert names(planned)[:2] == ["prlimit64", "seccomp"]
    assert "seccomp" not in names(planned)[2:]
    assert not planned.calls[1].late
    assert not [call for call in planned.calls if call.args[:1] == (c.PR_SET_NO_NEW_PRIVS,)]


def test_ids_change_while_capabilities_are_kept_and_groups_first():
    planned = plan(user=User(uid=7, gid=8, additional_gids=(9, 10)))
    calls = [call for call in planned.calls if call.args[:1] != (c.PR_CAPBSET_DROP,)]
    begin = [(call.call, call.args) for call in calls[:4]]
    assert begin == [
        ("prctl", (c.PR_SET_KEEPCAPS, 1)),
        ("setgroups", (2, Text(data=b"\x09\0\0\0\x0a\0\0\0"))),
        ("setresgid", (8, 8, 8)),
        ("setresuid", (7, 7, 7)),
    ]
    assert calls[4].call == "capset"
    assert (calls[5].call, calls[5].args) == ("prctl", (c.PR_SET_KEEPCAPS, 0))


def test_groups_stay_where_setgroups_is_denied():
    assert "setgroups" not in names(plan(how={"may_set_groups": False}))


def test_with_a_fifo_it_says_ready_and_waits_where_nobody_listens_on_the_channel():
    planned = plan(how={"preserve_fds": 2})
    ready = names(planned).index("write")
    assert planned.calls[ready].args[0] == 5
    after = [(call.call, call.args[0], call.late) for call in planned.calls[ready + 1 :]]
    assert after == [("close", 5, True), ("read", 6, True), ("fcntl", 6, True)]


def test_without_a_fifo_the_channel_closes_with_execve():
    planned = plan(FILTER, no_new_privileges=True, how={"has_fifo": False})
    assert names(planned)[-2:] == ["fcntl", "seccomp"]
    assert not [call for call in planned.calls if call.late]


def test_in_a_user_namespace_the_host_side_sets_limits():
    inside = plan(rlimits=(LIMIT,), oom_score_adj=5, how={"in_user_namespace": True})
    assert "prlimit64" not in names(inside)
    assert inside.outside == (
        SetOomScoreAdj(value=5, origin="/process/oomScoreAdj"),
        SetRlimit(resource=7, name="RLIMIT_NOFILE", soft=10, hard=20, origin="/process/rlimits/0"),
    )
    outside = plan(rlimits=(LIMIT,))
    assert outside.outside == ()
    assert outside.calls[0] == StubCall(
        call="prlimit64", words="set RLIMIT_NOFILE to 10:20", origin="/process/rlimits/0",
        args=(0, 7, Text(data=(10).to_bytes(8, "little") + (20).to_bytes(8, "little")), 0),
    )  # fmt: skip


def test_a_step_is_the_place_of_the_call():
    planned = plan(FILTER, no_new_privileges=True)
    for number, call in enumerate(planned.calls[1:], 1):
        assert find_call(planned.calls, STEP_SECCOMP if call.call == "seccomp" else number) is call
    assert find_call(planned.calls, len(planned.calls)) is None


def test_a_profile_that_is_asked_for_again_is_compiled_once():
    seccomp = Seccomp(default_action="SCMP_ACT_ALLOW", origin="/linux/seccomp")
    config = Config(oci_version="1.2.0", linux=Linux(seccomp=seccomp))
    program = compile_profile(config, "x86_64")
    assert program is not None
    assert compile_profile(replaced(config, hostname="other"), "x86_64") is program
    equal = replaced(config, linux=Linux(seccomp=replaced(seccomp)))
    assert compile_profile(equal, "x86_64") == program

    for _ in range(8):
        compile_profile(replaced(config, linux=Linux(seccomp=replaced(seccomp))), "x86_64")
    assert compile_profile(config, "x86_64") is not program, "of many, the last are kept"
