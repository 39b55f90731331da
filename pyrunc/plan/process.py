"""The process object -> the calls of the stub, and what is done to the child from outside.

The stub's list is the last word on what the container's process may do; its order is runc's: without
no_new_privs the seccomp program is loaded first, while CAP_SYS_ADMIN is still there; with it last of all, so
that the profile need allow nothing but execve.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.kernel import const as c
from pyrunc.later import later
from pyrunc.oci.config import CAPABILITIES, RLIMITS, Capabilities, Linux, Process
from pyrunc.plan.facts import HostFacts
from pyrunc.plan.lsm import label_calls
from pyrunc.plan.ops import FillHome, FindProgram, Op, SetOomScoreAdj
from pyrunc.plan.scheduling import scheduling_calls
from pyrunc.plan.stub import (
    FILTERED,
    READY,
    STEP_SECCOMP,
    FilterProgram,
    Scratch,
    Stub,
    StubCall,
    Text,
    build_stub,
)
from pyrunc.record import Record, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.oci.config import Config, Seccomp
    from pyrunc.plan import init, rareops
    from pyrunc.plan.seccomp import SeccompProgram
else:
    init = later("pyrunc.plan.init")
    rareops = later("pyrunc.plan.rareops")

_NUMBER_OF = {name: number for number, name in enumerate(CAPABILITIES)}
_DAC_OVERRIDE = 1

_RLIMIT_NUMBERS = {name: number for number, name in enumerate(RLIMITS)}
EVERY_CAPABILITY = (1 << 64) - 1
_HOME_BYTES = 4096  # PATH_MAX: a home directory that is longer can't be used anyway


class CapabilitySets(Record):
    """Bit N for capability N. What the host can't give is left out: a warning, not an error (spec 1.1)."""

    bounding: int = 0
    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    ambient: int = 0


class ProcessPlan(Record):
    """`outside`: the host side's operations on the child; `last`: the child's own last steps, which find the
    program; `stub`: what it executes, and `calls` the list of it, for people."""

    outside: tuple[Op, ...]
    last: tuple[Op, ...]
    stub: Stub
    calls: tuple[StubCall, ...]


def _mask(names: tuple[str, ...], grantable: int) -> int:
    mask = 0
    for name in names:
        number = _NUMBER_OF.get(name)
        if number is not None:
            mask |= 1 << number
    return mask & grantable


def plan_capabilities(wanted: Capabilities | None, grantable: int) -> CapabilitySets:
    """No object at all: no capability at all."""
    if wanted is None:
        return CapabilitySets()
    permitted = _mask(wanted.permitted, grantable)
    inheritable = _mask(wanted.inheritable, grantable)
    return CapabilitySets(
        bounding=_mask(wanted.bounding, grantable),
        effective=_mask(wanted.effective, grantable) & permitted,
        permitted=permitted,
        inheritable=inheritable,
        ambient=_mask(wanted.ambient, grantable) & permitted & inheritable,
    )


_compiled: list[tuple[Seccomp, str, SeccompProgram]] = []  # the last of them, for whoever asks again
_MOST_COMPILED = 8


def compile_profile(config: Config, machine: str) -> SeccompProgram | None:
    """The seccomp program of the config. Its compiler is fetched by name: it is as large as all else that a
    launch imports for this, and containers without a profile need it not. Who has parsed a config once and
    plans from it again, as the spawner does, gets the program that the same Record was compiled to."""
    seccomp = config.linux.seccomp
    if seccomp is None:
        return None
    for known, for_machine, program in _compiled:
        if known is seccomp and for_machine == machine:
            return program
    compiler: Any = __import__("pyrunc.plan.seccomp", fromlist=("",))
    made: SeccompProgram = compiler.compile_seccomp(seccomp, machine)
    _compiled.append((seccomp, machine, made))
    del _compiled[:-_MOST_COMPILED]
    return made


def plan_environment(env: tuple[str, ...]) -> dict[str, str]:
    """Of duplicates the last wins, at the place of the first; `where` of an error is the entry."""
    result: dict[str, str] = {}
    for index, entry in enumerate(env):
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise PyruncError(
                INVALID,
                "invalid environment variable",
                f"/process/env/{index}",
                f"{entry!r} isn't NAME=VALUE",
            )
        result[name] = value
    return result


def program_candidates(program: str, path: str | None) -> tuple[str, ...]:
    """Where execvp(3) would look, with the PATH of the container's own environment."""
    if "/" in program:
        return (program,)
    return tuple(f"{entry or '.'}/{program}" for entry in (path or "").split(":")) if path else ()


def plan_process(
    process: Process,
    linux: Linux,
    *,
    facts: HostFacts,
    grantable: int,
    seccomp: SeccompProgram | None,
    has_fifo: bool,
    may_set_groups: bool,
    preserve_fds: int,
    listen_fds: int = 0,
    program: str = "",
    in_user_namespace: bool = False,
    adds_home: bool = True,
    stays: bool = False,
) -> ProcessPlan:
    """Of `linux` what is the process's, too. `grantable`: the capabilities that can be given, as a mask;
    `has_fifo`: wait for `start`; `listen_fds`: how many of the preserved descriptors are announced by
    LISTEN_FDS; `program`: what to execute if it isn't args[0]; `in_user_namespace`: the right to raise a
    limit is then the host side's; `adds_home`: HOME, where it is missing, is that of the container's
    /etc/passwd; `stays`: the program is the child of an init (plan.init)."""
    user = process.user
    sets = plan_capabilities(process.capabilities, grantable)
    env = plan_environment(process.env)
    if listen_fds:
        env |= {"LISTEN_FDS": str(listen_fds), "LISTEN_PID": "1"}
    program = program or process.args[0]
    candidates = program_candidates(program, env.get("PATH"))
    if not candidates:
        raise PyruncError(
            INVALID,
            f'unable to start container process: exec: "{program}": executable file not found in $PATH',
            f"{process.origin}/args/0",
        )
    channel = 3 + preserve_fds
    outside = _outside(process, in_user_namespace)
    calls = _stub_calls(
        process,
        sets,
        facts,
        seccomp,
        channel,
        has_fifo,
        may_set_groups,
        bool(outside),
        scheduling_calls(process, linux) + ([] if in_user_namespace else _limit_calls(process)),
    )
    if stays:
        calls += _init_calls(facts.machine, len(calls), late=has_fifo)
    wants_home = adds_home and not env.get("HOME")
    if wants_home:
        env.pop("HOME", None)
    stub = build_stub(
        calls,
        machine=facts.machine,
        channel=channel,
        candidates=tuple(_encode(item) for item in candidates),
        argv=tuple(_encode(item) for item in process.args),
        env=tuple(_encode(f"{name}={value}") for name, value in env.items()),
        home_size=_HOME_BYTES if wants_home else 0,
        stays=stays,
    )
    last = _last_steps(
        process, candidates, stub, as_user=user.uid != 0 and not sets.effective >> _DAC_OVERRIDE & 1
    )
    return ProcessPlan(outside=outside, last=last, stub=stub, calls=calls)


def _last_steps(
    process: Process, candidates: tuple[str, ...], stub: Stub, *, as_user: bool
) -> tuple[Op, ...]:
    """What only the child can look up, inside, and write into the stub."""
    user = process.user
    steps: tuple[Op, ...] = (
        FindProgram(
            candidates=candidates,
            addresses=stub.candidates,
            slot=stub.program_pointer,
            uid=user.uid,
            gid=user.gid,
            groups=user.additional_gids,
            as_user=as_user,
            origin=f"{process.origin}/args/0",
        ),
    )
    if stub.home_size:
        steps += (
            FillHome(
                uid=user.uid,
                text_at=stub.home_text,
                size=stub.home_size,
                pointer_at=stub.home_pointer,
                pointer=Stub.address_of(stub.home_text).to_bytes(8, "little"),
                origin=f"{process.origin}/env",
            ),
        )
    return steps


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _outside(process: Process, in_user_namespace: bool) -> tuple[Op, ...]:
    """What the host side does to the child. Limits where only its rights, as the owner of the user namespace,
    allow to raise them; else the stub sets them while it is still root."""
    ops: list[Op] = []
    if process.oom_score_adj is not None:
        ops.append(SetOomScoreAdj(value=process.oom_score_adj, origin=f"{process.origin}/oomScoreAdj"))
    for limit in process.rlimits if in_user_namespace else ():
        ops.append(
            rareops.SetRlimit(
                resource=_RLIMIT_NUMBERS[limit.type],
                name=limit.type,
                soft=limit.soft,
                hard=limit.hard,
                origin=limit.origin,
            )
        )
    return tuple(ops)


def _stub_calls(
    process: Process,
    sets: CapabilitySets,
    facts: HostFacts,
    seccomp: SeccompProgram | None,
    channel: int,
    has_fifo: bool,
    may_set_groups: bool,
    has_outside: bool,
    calls: list[StubCall],
) -> tuple[StubCall, ...]:
    """`calls`: those which come first."""
    origin = process.origin
    filtering: tuple[StubCall, ...] = ()
    has_listener = seccomp is not None and seccomp.has_listener
    if seccomp is not None:
        program = FilterProgram(instructions=seccomp.instructions)
        filtering = (
            StubCall(
                call="seccomp",
                args=(c.SECCOMP_SET_MODE_FILTER, seccomp.flags, program),
                step=STEP_SECCOMP,
                origin="/linux/seccomp",
            ),
        )
    if has_listener:
        # The host side takes the listener from us and hands it over before we go on under the filter.
        filtering += (
            StubCall(call="write", args=(channel, Text(data=FILTERED), len(FILTERED))),
            StubCall(call="read", args=(channel, Scratch(), 1)),
        )
    if not process.no_new_privileges:
        calls += filtering
    calls += _credential_calls(process, sets, facts.last_capability, may_set_groups)
    calls += label_calls(process, channel + (2 if has_fifo else 1))
    if process.no_new_privileges:
        calls.append(
            StubCall(call="prctl", args=(c.PR_SET_NO_NEW_PRIVS, 1), origin=f"{origin}/noNewPrivileges")
        )
        if has_listener:
            calls += filtering
    if has_fifo:
        fifo = channel + 1
        calls += [
            StubCall(call="write", args=(channel, Text(data=READY), len(READY))),
            StubCall(call="close", args=(channel,), late=True),
            StubCall(call="read", args=(fifo, Scratch(), 1), late=True),
            StubCall(call="fcntl", args=(fifo, c.F_SETFD, c.FD_CLOEXEC), late=True),
        ]
    else:
        if has_outside:
            calls += [
                StubCall(call="write", args=(channel, Text(data=READY), len(READY))),
                StubCall(call="read", args=(channel, Scratch(), 1)),
            ]
        calls.append(StubCall(call="fcntl", args=(channel, c.F_SETFD, c.FD_CLOEXEC)))
    if process.no_new_privileges and not has_listener:
        calls += (replaced(call, late=has_fifo) for call in filtering)
    return tuple(calls)


def _init_calls(machine: str, first: int, *, late: bool) -> tuple[StubCall, ...]:
    return tuple(
        StubCall(
            call=item.call,
            args=tuple(Text(data=value) if isinstance(value, bytes) else value for value in item.args),
            words=item.words,
            ignore=item.ignore,
            late=late,
            step=first + number,
        )
        for number, item in enumerate(init.init_calls(machine))
    )


def _limit_calls(process: Process) -> list[StubCall]:
    """prlimit(2) on ourselves."""
    return [
        StubCall(
            call="prlimit64",
            args=(
                0,
                _RLIMIT_NUMBERS[limit.type],
                Text(data=limit.soft.to_bytes(8, "little") + limit.hard.to_bytes(8, "little")),
                0,
            ),
            words=f"set {limit.type} to {limit.soft}:{limit.hard}",
            origin=limit.origin,
        )
        for limit in process.rlimits
    ]


def _credential_calls(
    process: Process, sets: CapabilitySets, last_capability: int, may_set_groups: bool
) -> list[StubCall]:
    """Bounding set, ids, the three sets, ambient: capabilities(7). Each needs what the next takes away."""
    user, origin = process.user, f"{process.origin}/capabilities"
    calls = [
        StubCall(call="prctl", args=(c.PR_CAPBSET_DROP, number), origin=f"{origin}/bounding")
        for number in range(last_capability + 1)
        if not sets.bounding >> number & 1
    ]
    calls.append(StubCall(call="prctl", args=(c.PR_SET_KEEPCAPS, 1)))
    if may_set_groups:
        groups = b"".join(gid.to_bytes(4, "little") for gid in user.additional_gids)
        calls.append(
            StubCall(
                call="setgroups",
                args=(len(user.additional_gids), Text(data=groups)),
                origin=f"{user.origin}/additionalGids",
            )
        )
    calls.append(StubCall(call="setresgid", args=(user.gid,) * 3, origin=f"{user.origin}/gid"))
    calls.append(StubCall(call="setresuid", args=(user.uid,) * 3, origin=f"{user.origin}/uid"))
    header = Text(data=c.LINUX_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4))
    words = [
        mask >> shift & 0xFFFF_FFFF
        for shift in (0, 32)
        for mask in (sets.effective, sets.permitted, sets.inheritable)
    ]
    data = Text(data=b"".join(word.to_bytes(4, "little") for word in words))
    calls.append(StubCall(call="capset", args=(header, data), origin=origin))
    calls.append(StubCall(call="prctl", args=(c.PR_SET_KEEPCAPS, 0)))
    clear = (c.PR_CAP_AMBIENT, c.PR_CAP_AMBIENT_CLEAR_ALL)
    calls.append(StubCall(call="prctl", args=clear, origin=f"{origin}/ambient"))
    calls += [
        StubCall(
            call="prctl",
            args=(c.PR_CAP_AMBIENT, c.PR_CAP_AMBIENT_RAISE, number),
            ignore=True,
            origin=f"{origin}/ambient",
        )
        for number in range(last_capability + 1)
        if sets.ambient >> number & 1
    ]
    return calls
