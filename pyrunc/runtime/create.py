"""create: everything of config.json but the program, which the stub waits to execute.

Nothing half-made is left: what has to be undone is registered before it can be needed, and undone in reverse.
"""

from __future__ import annotations

import posix
from time import time_ns

from pyrunc import log
from pyrunc.child import rootfs, steps
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import write_atomically
from pyrunc.later import later
from pyrunc.linux.apply import Host, apply
from pyrunc.linux.cgroups.apply import find_denied
from pyrunc.linux.facts import probe, read_revealing_mounts
from pyrunc.oci.config import Config, Mount
from pyrunc.oci.state import format_time
from pyrunc.plan.cgroups import CgroupPlan, plan_cgroup, plan_nothing, plan_without
from pyrunc.plan.facts import HostFacts
from pyrunc.plan.launch import LaunchRequest, Parts, keyring_name, plan_launch, plan_parts
from pyrunc.plan.shared import Launch
from pyrunc.record import Record, replaced
from pyrunc.runtime import spawn, store
from pyrunc.runtime.bundle import Bundle, load
from pyrunc.runtime.caller import hand_out, listen_fds
from pyrunc.runtime.lifecycle import STOPPED
from pyrunc.runtime.state import hook_text
from pyrunc.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.linux import hooks
    from pyrunc.linux.cgroups import oom, remove
    from pyrunc.plan.ops import Op
    from pyrunc.runtime.configcache import ConfigCache
    from pyrunc.waiting import Work
else:
    hooks = later("pyrunc.linux.hooks")
    remove = later("pyrunc.linux.cgroups.remove")
    oom = later("pyrunc.linux.cgroups.oom")

steps.STEPS.update(rootfs.STEPS)  # every container has some of them: read with all the rest

NOTIFY_DIRECTORY = "/run/notify"
_FIFO_FLAGS = posix.O_RDWR | posix.O_CLOEXEC


class CreateRequest(Record):
    """As on the command line of `create` and `run`. `bundle`, `config_file` and `state_root` are absolute.
    `console_fd`: instead of a socket's path, an open descriptor that the pty is to be sent to. `stand_in`:
    asked, for a container without a terminal, which standard streams are to be other descriptors than ours.
    `may_begin_anew`: this process is the command line's, and may execute itself again (exeseal). `cache`: of
    a process that makes many containers."""

    id: str
    bundle: str
    state_root: str
    config_file: str = ""
    pid_file: str = ""
    console_socket: str = ""
    console_fd: int = -1
    stand_in: Callable[[], tuple[tuple[int, int], ...]] | None = None
    pidfd_socket: str = ""
    no_pivot: bool = False
    no_new_keyring: bool = False
    init: bool = False
    preserve_fds: int = 0
    cgroup_manager: str = "cgroupfs"
    rootless: str = "auto"
    may_begin_anew: bool = False
    cache: ConfigCache | None = None


class Planned(Record):
    """All that is known before anything is touched."""

    bundle: Bundle
    facts: HostFacts
    cgroup: CgroupPlan
    launch: Launch
    resctrl_groups: tuple[str, ...] = ()


def plan(request: CreateRequest) -> Planned:
    """From the bundle to a Launch, without effects. Raises PyruncError."""
    facts = probe() if request.cache is None else request.cache.probe()
    bundle = load(request.bundle, facts, request.cache, request.config_file)
    config = bundle.config
    if config.process is None:
        raise PyruncError(INVALID, "process property must not be empty")
    has_own_pids = any(item.type == "pid" and not item.path for item in config.linux.namespaces)
    if request.may_begin_anew and facts.is_privileged and not has_own_pids:
        exeseal: Any = __import__("pyrunc.runtime.exeseal", fromlist=("",))
        exeseal.seal()
    notify = posix.environ.get(b"NOTIFY_SOCKET", b"")
    if notify:
        config = with_notify(config, store.directory(request.state_root, request.id))
    cgroup = _plan_cgroup(config, request, facts)
    log.warn_of_ignored(cgroup.warnings)
    resctrl, resctrl_groups = _plan_intel_rdt(config, request)
    passed, preserved = listen_fds(request.preserve_fds)
    launch = plan_launch(
        config,
        facts,
        cgroup,
        LaunchRequest(
            container_id=request.id,
            bundle=request.bundle,
            rootfs=bundle.rootfs,
            no_pivot=request.no_pivot,
            no_new_keyring=request.no_new_keyring,
            init=request.init,
            preserve_fds=preserved,
            listen_fds=passed,
            host_mounts_to_hide=read_revealing_mounts() if request.no_pivot else (),
            resctrl=resctrl,
        ),
        _plan_parts(bundle, config, facts, request, passed, preserved),
    )
    return Planned(
        bundle=replaced(bundle, config=config),
        facts=facts,
        cgroup=cgroup,
        launch=launch,
        resctrl_groups=resctrl_groups,
    )


def _plan_parts(
    bundle: Bundle, config: Config, facts: HostFacts, request: CreateRequest, passed: int, preserved: int
) -> Parts | None:
    """Those of the last time, if all that they follow from is as it was."""
    if request.cache is None or config is not bundle.config:
        return None
    asked = (facts, request.init, passed, preserved)
    known = bundle.memo.get("parts")
    if known is None or known[0] != asked:
        parts = plan_parts(config, facts, init=request.init, preserve_fds=preserved, listen_fds=passed)
        known = bundle.memo["parts"] = asked, parts
    found: Parts = known[1]
    return found


def _plan_cgroup(config: Config, request: CreateRequest, facts: HostFacts) -> CgroupPlan:
    """Rootless, cgroups that may not be made are done without, unless limits were asked for."""
    rootless = {"true": True, "false": False}.get(request.rootless, facts.uid != 0 or facts.in_user_namespace)
    if request.cgroup_manager == "systemd":
        return _plan_scope(config, request, facts, rootless=rootless)
    if request.cgroup_manager == "disabled":
        restricts_devices = not (rootless or facts.in_user_namespace)
        return plan_nothing(config, restricts_devices=restricts_devices, is_disabled=True)
    cgroup = plan_cgroup(
        config=config,
        container_id=request.id,
        layout=facts.cgroups,
        in_user_namespace=facts.in_user_namespace,
        rootless=rootless,
    )
    if rootless:
        denied = find_denied(cgroup.make)
        if denied:
            return plan_without(cgroup, denied, config)
    return cgroup


def _plan_intel_rdt(config: Config, request: CreateRequest) -> tuple[tuple[Op, ...], tuple[str, ...]]:
    """(what is done on the child, groups that are the container's own)"""
    if config.linux.intel_rdt is None:
        return (), ()
    planner: Any = __import__("pyrunc.plan.intelrdt", fromlist=("",))
    resctrl: Any = __import__("pyrunc.linux.intelrdt", fromlist=("",))
    plan = planner.plan_intel_rdt(
        config.linux.intel_rdt, container_id=request.id, mountpoint=resctrl.read_mountpoint()
    )
    return plan.attach, plan.owned


def _plan_scope(config: Config, request: CreateRequest, facts: HostFacts, *, rootless: bool) -> CgroupPlan:
    """systemd is asked who it is before anything is touched. Few callers have it make the cgroups."""
    planner: Any = __import__("pyrunc.plan.systemd", fromlist=("",))
    manager: Any = systemd_manager()
    weighs_io = config.linux.resources is not None and config.linux.resources.block_io is not None
    plan: CgroupPlan = planner.plan_scope(
        config=config,
        container_id=request.id,
        layout=facts.cgroups,
        systemd=manager.probe(is_user=rootless, weighs_io=weighs_io),
        restricts_devices=not (rootless or facts.in_user_namespace),
        rootless=rootless,
    )
    return plan


def systemd_manager() -> Any:
    """The module that talks to it, which brings D-Bus along. To be had before anything is touched: where our
    interpreter is a part of the launcher, the call is begun anew with a whole one."""
    return __import__("pyrunc.linux.cgroups.systemd", fromlist=("",))


def with_notify(config: Config, state_directory: str) -> Config:
    """sd_notify(3): a socket of ours, made at `start`, is what the container talks to."""
    mount = Mount(
        destination=NOTIFY_DIRECTORY,
        type="bind",
        source=f"{state_directory}/notify",
        options=("bind", "nosuid", "noexec", "nodev", "ro"),
        origin="/process/env",
    )
    process = config.process
    if process is not None:
        process = replaced(process, env=(*process.env, f"NOTIFY_SOCKET={NOTIFY_DIRECTORY}/notify.sock"))
    return replaced(config, mounts=(*config.mounts, mount), process=process)


def require_console(config: Config, request: CreateRequest, is_detached: bool) -> None:
    """A terminal needs somebody who holds its other end; the sentences are runc's."""
    terminal = config.process is not None and config.process.terminal
    if terminal and is_detached and not request.console_socket and request.console_fd < 0:
        raise PyruncError(
            INVALID,
            "cannot allocate tty if pyrunc will detach without setting console socket",
            "/process/terminal",
        )
    if request.console_socket and not (terminal and is_detached):
        raise PyruncError(
            INVALID,
            "cannot use console socket if pyrunc will not detach or allocate tty",
            "/process/terminal",
        )


class Begun:
    """A container that waits for `start`, and its init as a child of ours. `close` lets go of the pidfd."""

    __slots__ = ("has_terminal", "pid", "pidfd", "state")

    def __init__(self, state: store.State, pidfd: int, has_terminal: bool) -> None:
        self.state, self.pid, self.pidfd, self.has_terminal = state, state.pid, pidfd, has_terminal

    def close(self) -> None:
        posix.close(self.pidfd)


def create(request: CreateRequest) -> store.State:
    """Returns when the container waits for `start`. Raises PyruncError, and nothing is left then."""
    begun = begin(request, is_detached=True)
    begun.close()
    return begun.state


def begin(request: CreateRequest, *, is_detached: bool) -> Begun:
    """As `create`, for a caller who stays with the init process."""
    return finish(creation(request, is_detached=is_detached))


def creation(request: CreateRequest, *, is_detached: bool) -> Work[Begun]:
    """As `begin`, for a caller with more in hand: it waits for the child, and for hooks."""
    store.check_id(request.id)
    with doing(f"create container {request.id}"):
        planned = plan(request)
        require_console(planned.bundle.config, request, is_detached)
        if planned.bundle.config.linux.net_devices:
            netdevices: Any = __import__("pyrunc.linux.netdevices", fromlist=("",))
            netdevices.fetch_library()
        undo: list[Callable[[], object]] = []
        try:
            return (yield from _creation(request, planned, undo))
        except BaseException:
            for step in reversed(undo):
                _try(step)
            raise


def _try(step: Callable[[], object]) -> None:
    """Undo one thing. That it failed is said beside the error that brought us here, and keeps nothing else
    from being undone."""
    try:
        with doing("close"):
            step()
    except PyruncError as error:
        log.warning(f"clean-up: {error}")


def _creation(request: CreateRequest, planned: Planned, undo: list[Callable[[], object]]) -> Work[Begun]:
    lock, state = reserve_state(request, planned, undo)
    box = [state]
    host = Host(
        request.bundle, lambda status, is_inside=False: hook_text(box[0], status, is_inside=is_inside)
    )
    undo.append(host.close)
    fifo = posix.open(f"{store.directory(request.state_root, request.id)}/{store.FIFO}", _FIFO_FLAGS)
    undo.append(lambda: posix.close(fifo))
    terminal = planned.launch.has_terminal
    if terminal:
        host.saved["console"] = open_console(request)
    elif request.stand_in is not None:
        host.saved |= {f"stdio/{stream}": fd for stream, fd in request.stand_in()}
    undo.append(lambda: remove.remove(tuple(host.made_cgroups)))
    for op in planned.launch.prepare:
        if log.is_debugging():
            log.debug(f"{request.id}: {op.describe()}")
        apply(op, host)

    undo.append(lambda: stop_unit(host))
    undo.append(lambda: remove_groups(host))
    undo.append(lambda: _run_poststop(planned.bundle.config, box[0]))
    born = spawn.clone(planned.launch, host, fifo, has_others=request.cache is not None)
    undo.append(born.close)
    undo.append(born.kill)
    host.pid, host.pidfd = born.pid, born.pidfd
    box[0] = replaced(state, pid=born.pid, start_time=born.start_time())
    store.save(request.state_root, box[0])
    try:
        yield from spawn.attend(born, host)
    except PyruncError as error:
        raise _explain_oom(error, planned.cgroup) from error
    hand_out(request.pidfd_socket, request.pid_file, born, b"standard")
    log.debug(f"{request.id}: created, process {born.pid}")
    if request.cache is not None:  # what is executed in it may be asked for next
        directory = store.directory(request.state_root, request.id)
        request.cache.of_container(box[0], directory, lambda: planned.bundle.config)
    for fd in (born.channel, fifo, lock):
        posix.close(fd)
    host.close()
    return Begun(box[0], born.pidfd, terminal)


def reserve_state(
    request: CreateRequest, planned: Planned, undo: list[Callable[[], object]]
) -> tuple[int, store.State]:
    """The state directory, locked, and all in it that the launch needs."""
    directory = store.reserve(request.state_root, request.id)
    undo.append(lambda: store.remove(request.state_root, request.id))
    lock = store.lock(request.state_root, request.id)
    undo.append(lambda: posix.close(lock))
    state = _first_state(request, planned)
    with doing("write the container's state", directory):
        write_atomically(f"{directory}/config.json", planned.bundle.text, 0o600)
        posix.mkfifo(f"{directory}/{store.FIFO}", 0o600)
        if state.notify_socket:
            posix.mkdir(f"{directory}/notify", 0o755)
    store.save(request.state_root, state)
    return lock, state


def _first_state(request: CreateRequest, planned: Planned) -> store.State:
    config = planned.bundle.config
    return store.State(
        id=request.id,
        bundle=request.bundle,
        rootfs=planned.bundle.rootfs,
        created=format_time(time_ns()),
        oci_version=config.oci_version,
        owner_uid=planned.facts.uid,
        annotations=config.annotations,
        cgroup_paths=planned.cgroup.paths,
        systemd_unit=planned.cgroup.unit,
        is_user_unit=planned.cgroup.is_user_unit,
        resctrl_groups=planned.resctrl_groups,
        has_own_pid_namespace=any(item.type == "pid" and not item.path for item in config.linux.namespaces),
        has_poststop=bool(config.hooks.poststop),
        has_start_hooks=bool(config.hooks.start_container or config.hooks.poststart),
        notify_socket=posix.environ.get(b"NOTIFY_SOCKET", b"").decode("utf-8", "surrogateescape"),
        program=planned.launch.program,
        keyring="" if request.no_new_keyring else keyring_name(request.id),
    )


def open_console(request: CreateRequest) -> int:
    if request.console_fd >= 0:
        return posix.dup(request.console_fd)
    console: Any = __import__("pyrunc.runtime.console", fromlist=("",))
    made: int = console.connect(request.console_socket)
    return made


def remove_groups(host: Host) -> None:
    if host.made_groups:
        resctrl: Any = __import__("pyrunc.linux.intelrdt", fromlist=("",))
        resctrl.remove_groups(tuple(host.made_groups))


def stop_unit(host: Host) -> None:
    if host.unit is not None:
        systemd_manager().stop_unit(host.unit.unit, is_user=host.unit.is_user)


def _run_poststop(config: Config, state: store.State) -> None:
    """Also when create failed after the container had a process (runtime.md, Lifecycle). Here a hook that
    fails is not worth hiding the error that brought us here."""
    if state.pid and config.hooks.poststop:
        try:
            text = hook_text(state, STOPPED)
            finish(hooks.run_hooks("poststop", config.hooks.poststop, text, state.bundle))
        except PyruncError:
            pass


def _explain_oom(error: PyruncError, cgroup: CgroupPlan) -> PyruncError:
    """A limit too low for the launch itself shows as a child that is gone without a word."""
    if oom.count_oom_kills(cgroup.paths):
        return PyruncError(
            error.kind,
            "container init was OOM-killed (memory limit too low?)",
            "/linux/resources/memory/limit",
        )
    return error
