"""exec: one more process in a container, in its namespaces and cgroup, with its restrictions."""

from __future__ import annotations

import posix

from pyrunc import jsonio, log
from pyrunc.errors import INVALID, WRONG_STATE, PyruncError, doing
from pyrunc.files import read_once
from pyrunc.kernel import fds
from pyrunc.kernel.procfs import is_alive, read_text
from pyrunc.kernel.terminal import read_size
from pyrunc.linux.apply import Host, apply
from pyrunc.linux.facts import probe
from pyrunc.oci.config import CAPABILITIES, Capabilities, Config, ConsoleSize, Process, User, parse_config
from pyrunc.oci.processrules import PROCESS_CHECKS
from pyrunc.plan.execution import ExecutionRequest, plan_execution
from pyrunc.plan.facts import HostFacts
from pyrunc.plan.ops import OpenCgroup
from pyrunc.plan.process import compile_profile
from pyrunc.plan.shared import KINDS, Launch, listener_steps
from pyrunc.record import Record, replaced
from pyrunc.runtime import spawn, store
from pyrunc.runtime.caller import hand_out, listen_fds
from pyrunc.runtime.foreground import Foreground
from pyrunc.runtime.lifecycle import PAUSED, RUNNING, require
from pyrunc.runtime.rulefacts import rule_facts
from pyrunc.runtime.state import hook_text, status_of
from pyrunc.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.runtime.configcache import ConfigCache
    from pyrunc.waiting import Work

_LAST_ID = (1 << 32) - 2


class ExecRequest(Record):
    """As on the command line. `process_file` names a process object, which then says it all. `console_fd`,
    `stand_in` and `cache` as in CreateRequest. `may_begin_anew`: this process is the command line's, and may
    execute itself again (exeseal)."""

    id: str
    state_root: str
    args: tuple[str, ...] = ()
    process_file: str = ""
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    additional_gids: tuple[int, ...] = ()
    caps: tuple[str, ...] = ()
    tty: bool = False
    detach: bool = False
    pid_file: str = ""
    console_socket: str = ""
    console_fd: int = -1
    stand_in: Callable[[], tuple[tuple[int, int], ...]] | None = None
    pidfd_socket: str = ""
    process_label: str = ""
    apparmor: str = ""
    no_new_privs: bool | None = None
    preserve_fds: int = 0
    cgroup: str = ""
    ignore_paused: bool = False
    may_begin_anew: bool = False
    cache: ConfigCache | None = None


def exec_process(request: ExecRequest) -> int:
    """The exit code of the process; 0 at once when detached. Raises PyruncError."""
    with doing(f"execute in container {request.id}"):
        if request.detach:
            begin_exec(request).close()
            return 0
        return _exec_in_foreground(request)


def _exec_in_foreground(request: ExecRequest) -> int:
    listen_fds(request.preserve_fds)  # before we open any descriptor that could be taken for one of those
    foreground = Foreground(subreaper=False)
    ours, theirs = fds.socket_pair()
    try:
        request = replaced(request, console_fd=theirs, stand_in=foreground.replace_terminals)
        born = begin_exec(request)
        try:
            if born.launch.has_terminal:
                foreground.take_console(ours)
            return foreground.wait(born.pid, born.pidfd)
        except BaseException:
            born.kill()
            raise
        finally:
            born.close()
    finally:
        posix.close(ours)
        posix.close(theirs)
        foreground.close()


def begin_exec(request: ExecRequest) -> spawn.Born:
    """Returns when the program is executed, as a child of ours. Raises PyruncError."""
    return finish(execution(request))


def execution(request: ExecRequest) -> Work[spawn.Born]:
    """As `begin_exec`, for a caller with more in hand: it waits for the child."""
    passed, preserved = listen_fds(request.preserve_fds)
    state = store.load(request.state_root, request.id)
    status = status_of(request.state_root, state)
    require("exec", request.id, status)
    if status == PAUSED and not request.ignore_paused:
        raise PyruncError(WRONG_STATE, "cannot exec in a paused container (use --ignore-paused to override)")
    facts = probe() if request.cache is None else request.cache.probe()
    config = _read_config(request, state)
    is_exposed = _is_watched(config) or not state.has_own_pid_namespace
    if request.may_begin_anew and facts.is_privileged and is_exposed:
        exeseal: Any = __import__("pyrunc.runtime.exeseal", fromlist=("",))
        exeseal.seal()
    process = _find_process(request, config.process, facts)
    _require_console(request, process)
    if request.stand_in is not None and process.terminal:
        process = _with_our_size(process)
    if not process.args:
        raise PyruncError(INVALID, "args must not be empty")
    with doing("open the init process", state.id):
        init = posix.pidfd_open(state.pid)
    try:
        if not is_alive(state.pid, state.start_time):
            raise PyruncError(WRONG_STATE, "cannot exec in a stopped container")
        launch = plan_inside(
            state, config, process, facts, cgroup=request.cgroup, preserved=preserved, passed=passed
        )
        host = open_inside(state, init, launch)
    finally:
        posix.close(init)
    return (yield from _spawn(request, launch, host))


def _read_config(request: ExecRequest, state: store.State) -> Config:
    """As it was at create."""

    def read() -> Config:
        return parse_config(store.read_config(request.state_root, request.id))

    if request.cache is None:
        return read()
    return request.cache.of_container(state, store.directory(request.state_root, request.id), read)


def _spawn(request: ExecRequest, launch: Launch, host: Host) -> Work[spawn.Born]:
    born = None
    try:
        if launch.has_terminal:
            host.saved["console"] = _open_console(request)
        elif request.stand_in is not None:
            host.saved |= {f"stdio/{stream}": fd for stream, fd in request.stand_in()}
        for op in launch.prepare:
            apply(op, host)
        born = spawn.clone(launch, host, has_others=request.cache is not None)
        host.pid, host.pidfd = born.pid, born.pidfd
        yield from spawn.attend(born, host)
        host.close()  # while the child is at work
        yield from spawn.await_exec(born)
        hand_out(request.pidfd_socket, request.pid_file, born, b"setns")
        return born
    except BaseException:
        if born is not None:
            born.kill()
            born.close()
        raise
    finally:
        host.close()


def _open_console(request: ExecRequest) -> int:
    if request.console_fd >= 0:
        return posix.dup(request.console_fd)
    console: Any = __import__("pyrunc.runtime.console", fromlist=("",))
    made: int = console.connect(request.console_socket)
    return made


def open_inside(state: store.State, init: int, launch: Launch) -> Host:
    """What a plan of an execution takes from the host side."""
    host = Host(state.bundle, lambda _status: hook_text(state, RUNNING))
    host.saved["init"] = posix.dup(init)
    if any(getattr(op, "takes", "") == "root" for op in launch.child):
        host.saved["root"] = posix.open(f"/proc/{state.pid}/root", posix.O_RDONLY | posix.O_CLOEXEC)
    return host


def plan_inside(
    state: store.State,
    config: Config,
    process: Process,
    facts: HostFacts,
    *,
    program: str = "",
    cgroup: str = "",
    preserved: int = 0,
    passed: int = 0,
) -> Launch:
    """A process in the container that `state` is of: where its init is now, with the config's profile."""
    return plan_execution(
        process,
        config.linux,
        facts,
        _cgroups(cgroup, state),
        compile_profile(config, facts.machine),
        listener_steps(config.linux),
        ExecutionRequest(
            namespaces=_other_namespaces(state.pid),
            may_set_groups=_may_set_groups(state.pid),
            keyring=state.keyring,
            is_watched=_is_watched(config),
            program=program,
            preserve_fds=preserved,
            listen_fds=passed,
        ),
    )


def _require_console(request: ExecRequest, process: Process) -> None:
    if process.terminal and request.detach and not request.console_socket:
        raise PyruncError(INVALID, "cannot allocate tty if pyrunc will detach without setting console socket")
    if request.console_socket and not (process.terminal and request.detach):
        raise PyruncError(INVALID, "cannot use console socket if pyrunc will not detach or allocate tty")


# --- what to run ----------------------------------------------------------------------------------


def _find_process(request: ExecRequest, configured: Process | None, facts: HostFacts) -> Process:
    """The file's, or the bundle's own with what the command line changes of it."""
    if request.process_file:
        with doing("read process", request.process_file):
            text = read_once(request.process_file)
        validate: Any = __import__("pyrunc.oci.validate", fromlist=("",))  # options alone need no schema
        document = jsonio.loads(text, request.process_file)
        process, warnings = validate.parse_valid_process(document, rule_facts(facts))
        for warning in warnings:
            log.warning(warning)
        return process if configured is None else _completed(process, configured)
    if configured is None:
        raise PyruncError(INVALID, "process property must not be empty", "/process")
    changes: dict[str, object] = {"args": request.args, "terminal": request.tty}
    if request.cwd:
        changes["cwd"] = request.cwd
    if request.env:
        changes["env"] = (*configured.env, *request.env)
    if request.user or request.additional_gids:
        changes["user"] = _parse_user(request, configured.user)
    if request.caps:
        changes["capabilities"] = _with_caps(configured.capabilities, request.caps)
    if request.no_new_privs is not None:
        changes["no_new_privileges"] = request.no_new_privs
    if request.apparmor:
        changes["apparmor_profile"] = request.apparmor
    if request.process_label:
        changes["selinux_label"] = request.process_label
    process = replaced(configured, **changes)
    rules = rule_facts(facts)
    for check in PROCESS_CHECKS:
        check(process, rules)
    return process


def _completed(process: Process, configured: Process) -> Process:
    """What a process file leaves open is as for the container's own process (runc's rule)."""
    return replaced(
        process,
        capabilities=process.capabilities or configured.capabilities,
        rlimits=process.rlimits or configured.rlimits,
        apparmor_profile=process.apparmor_profile or configured.apparmor_profile,
        selinux_label=process.selinux_label or configured.selinux_label,
        scheduler=process.scheduler or configured.scheduler,
        io_priority=process.io_priority or configured.io_priority,
        exec_cpu_affinity=process.exec_cpu_affinity or configured.exec_cpu_affinity,
    )


def _with_our_size(process: Process) -> Process:
    """The program may ask for the size of its terminal before we have that in hand."""
    rows, columns = read_size(0)
    size = ConsoleSize(height=rows, width=columns) if rows and columns else process.console_size
    return replaced(process, console_size=size)


def _parse_user(request: ExecRequest, configured: User) -> User:
    """UID[:GID], numbers and nothing else (CVE-2026-30892, CVE-2016-3697)."""
    uid, gid = configured.uid, configured.gid
    if request.user:
        uid_text, colon, gid_text = request.user.partition(":")
        uid = _parse_number(uid_text, "uid")
        gid = _parse_number(gid_text, "gid") if colon else gid
    groups = configured.additional_gids + request.additional_gids
    return replaced(configured, uid=uid, gid=gid, additional_gids=groups)


def _parse_number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _LAST_ID:
        raise PyruncError(INVALID, f"parsing {text!r} as int for {what} failed", "--user", "invalid syntax")
    return int(text)


def _with_caps(configured: Capabilities | None, names: tuple[str, ...]) -> Capabilities:
    """Never inheritable (CVE-2022-29162); ambient only where the config has it inheritable."""
    base = configured or Capabilities()
    wanted = tuple(
        name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}" for name in names
    )
    for name in wanted:
        if name not in CAPABILITIES:
            log.warning(f"unknown capability {name} is ignored")
    ambient = tuple(name for name in wanted if name in base.inheritable)
    return replaced(
        base,
        bounding=base.bounding + wanted,
        effective=base.effective + wanted,
        permitted=base.permitted + wanted,
        ambient=base.ambient + ambient,
    )


# --- where to run it ------------------------------------------------------------------------------


def _other_namespaces(pid: int) -> int:
    """CLONE_NEW* of the namespaces in which `pid` is and we are not."""
    flags = 0
    for flag, name in KINDS.values():
        try:
            theirs, ours = posix.stat(f"/proc/{pid}/ns/{name}"), posix.stat(f"/proc/self/ns/{name}")
        except FileNotFoundError:
            continue
        if theirs.st_ino != ours.st_ino:
            flags |= flag
    return flags


def _is_watched(config: Config) -> bool:
    """May processes of the container trace ours? Not from a user namespace of their own."""
    process = config.process
    if process is None or process.capabilities is None:
        return False
    return "CAP_SYS_PTRACE" in process.capabilities.bounding and not any(
        item.type == "user" for item in config.linux.namespaces
    )


def _may_set_groups(pid: int) -> bool:
    return read_text(f"/proc/{pid}/setgroups").strip() != "deny"


def _cgroups(sub_cgroup: str, state: store.State) -> tuple[OpenCgroup, ...]:
    """The container's own; --cgroup [NAME,…:]PATH goes below it, in the hierarchies named or in all."""
    below = _parse_sub_cgroups(sub_cgroup, dict(state.cgroup_paths))
    found = []
    for name, path in state.cgroup_paths:
        path += below.get(name, "")
        if name:
            found.append(OpenCgroup(path=f"{path}/tasks", saves=f"cgroup/{name}"))
        else:
            found.append(OpenCgroup(path=path, saves="cgroup", is_unified=True))
    return tuple(found)


def _parse_sub_cgroups(text: str, paths: dict[str, str]) -> dict[str, str]:
    if not text:
        return {}
    names, colon, path = text.rpartition(":")
    path = "/" + path.strip("/")
    if ".." in path.split("/"):
        raise PyruncError(INVALID, "invalid --cgroup path", text, ".. is not allowed")
    suffix = "" if path == "/" else path
    if not colon:
        return dict.fromkeys(paths, suffix)
    found = {}
    for name in names.split(","):
        match = [hierarchy for hierarchy in paths if name in hierarchy.split(",")]
        if not match:
            raise PyruncError(INVALID, "unknown controller in --cgroup", text, name)
        found[match[0]] = suffix
    return found
