"""restore: a container again, of what checkpoint saved. All but its processes is made as `create` makes it:
its id, its cgroups, what its mounts come from. criu makes the rest, as a sibling of itself, hence our child.
"""

from __future__ import annotations

import posix
from stat import S_ISDIR

from pyrunc import log
from pyrunc.errors import INTERNAL, PyruncError, doing
from pyrunc.kernel import const as c
from pyrunc.kernel import fds, paths, syscall
from pyrunc.kernel.procfs import parse_cgroup, read_text
from pyrunc.linux.apply import Host, apply, no_state
from pyrunc.linux.cgroups.files import is_v2, write_file
from pyrunc.linux.cgroups.remove import remove as remove_cgroups
from pyrunc.linux.criu import rpc
from pyrunc.linux.criu.session import Session
from pyrunc.linux.hooks import run_hooks
from pyrunc.plan import criu
from pyrunc.plan.rareops import EnterResctrl, MakeResctrl
from pyrunc.record import Record, replaced
from pyrunc.runtime import spawn, store
from pyrunc.runtime.caller import hand_out
from pyrunc.runtime.create import (
    NOTIFY_DIRECTORY,
    Begun,
    CreateRequest,
    Planned,
    open_console,
    plan,
    remove_groups,
    require_console,
    reserve_state,
    stop_unit,
)
from pyrunc.runtime.delete import delete
from pyrunc.runtime.foreground import Foreground
from pyrunc.runtime.images import Images, config_file, resolved
from pyrunc.runtime.lifecycle import CREATING
from pyrunc.runtime.state import hook_text
from pyrunc.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIPE = "pipe:"


class RestoreRequest(Record):
    """`container`: as for `create`. Paths are absolute; `work_path` empty: the images' directory."""

    container: CreateRequest
    image_path: str
    work_path: str = ""
    flags: criu.CriuFlags = criu.CriuFlags()


def restore(request: RestoreRequest, *, detach: bool, subreaper: bool) -> int:
    """The exit code of the container, 0 when detached. Raises PyruncError, and leaves nothing then."""
    if detach:
        _begin(request, is_detached=True).close()
        return 0
    foreground = Foreground(subreaper=subreaper)
    try:
        begun = _begin_here(request, foreground)
        try:
            return foreground.wait(begun.pid, begun.pidfd)
        finally:
            begun.close()
            delete(request.container.state_root, request.container.id, force=True)
    finally:
        foreground.close()


def _begin_here(request: RestoreRequest, foreground: Foreground) -> Begun:
    ours, theirs = fds.socket_pair()
    try:
        container = replaced(request.container, console_fd=theirs, stand_in=foreground.replace_terminals)
        begun = _begin(replaced(request, container=container), is_detached=False)
        if begun.has_terminal:
            foreground.take_console(ours)
        return begun
    finally:
        posix.close(ours)
        posix.close(theirs)


def _begin(request: RestoreRequest, *, is_detached: bool) -> Begun:
    store.check_id(request.container.id)
    planned = plan(request.container)
    require_console(planned.bundle.config, request.container, is_detached)
    undo: list[Callable[[], object]] = []
    try:
        return _Restoration(request, planned, undo).carry_out()
    except BaseException:
        for step in reversed(undo):
            step()
        raise


class _Restoration:
    """What the steps share, from the id's reservation to a process that runs."""

    def __init__(self, request: RestoreRequest, planned: Planned, undo: list[Callable[[], object]]) -> None:
        self.request, self.planned, self.undo = request, planned, undo
        self.container = request.container
        self.config = planned.bundle.config
        self.born: spawn.Born | None = None
        images = Images(request.image_path, request.work_path, is_new=False)
        self.images = images
        undo.append(images.close)
        self.lock, self.state = reserve_state(self.container, planned, undo)
        self.directory = store.directory(self.container.state_root, self.container.id)
        self.host = Host(self.container.bundle, no_state)
        undo.append(self.host.close)

    def carry_out(self) -> Begun:
        with doing("write the container's state", self.directory):
            posix.unlink(f"{self.directory}/{store.FIFO}")  # it was started long ago
        if self.planned.launch.has_terminal:
            self.host.saved["console"] = open_console(self.container)
        self.undo.append(lambda: remove_cgroups(tuple(self.host.made_cgroups)))
        self.undo.append(lambda: stop_unit(self.host))
        for op in self.planned.cgroup.make:
            apply(op, self.host)
        self.undo.append(self._kill)
        root = self._make_root()
        try:
            self._run_criu(root)
        finally:
            syscall.umount2(root, c.MNT_DETACH)
            posix.rmdir(root)
        if not self.state.pid or self.born is None:
            raise PyruncError(INTERNAL, "criu restored no process", self.images.path)
        self.images.close()
        self.host.close()
        posix.close(self.lock)
        return Begun(self.state, self.born.pidfd, self.planned.launch.has_terminal)

    def _kill(self) -> None:
        if self.born is not None:
            self.born.kill()
            self.born.close()

    def _make_root(self) -> str:
        """criu wants a mountpoint as the root, and one in whose parent nothing is mounted over it."""
        mounts = criu.host_mounts(self.planned.launch)
        self._make_mountpoints(mounts)
        root = f"{self.directory}/criu-root"
        rootfs = self.planned.bundle.rootfs
        with doing("mount the rootfs for criu", root):
            posix.mkdir(root, 0o755)
            try:
                syscall.mount(rootfs, root, "", c.MS_BIND | c.MS_REC, "")
            except OSError:
                posix.rmdir(root)
                raise
        return root

    def _make_mountpoints(self, mounts: tuple[criu.HostMount, ...]) -> None:
        """In the rootfs itself; a filesystem of the container's own comes back with those in it."""
        covered = criu.covered(self.planned.launch)
        rootfs = self.planned.bundle.rootfs
        with doing("make mount points", rootfs):
            root = posix.open(rootfs, c.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            try:
                for item in mounts:
                    if any(f"{item.target}/".startswith(f"{place.rstrip('/')}/") for place in covered):
                        continue
                    is_directory = S_ISDIR(posix.stat(item.source).st_mode)
                    make = paths.make_directories if is_directory else paths.make_file
                    posix.close(make(root, item.target))
            finally:
                posix.close(root)

    def _run_criu(self, root: str) -> None:
        mounts = resolved(self.planned.bundle.rootfs, criu.host_mounts(self.planned.launch))
        notify = criu.HostMount(source=self._notify_directory(), target=NOTIFY_DIRECTORY)
        stdio = () if self.container.stand_in is None else self.container.stand_in()
        self.host.saved |= {f"stdio/{stream}": fd for stream, fd in stdio}
        inherited = self._open_namespaces() | self._pipes()
        options = criu.plan_restore(
            self.request.flags,
            rootfs=root,
            mounts=tuple({item.target: item for item in (notify, *mounts)}.values()),
            inherited=inherited,
            config_file=config_file(self.config),
        )
        session = Session(stdio, tuple(fd for fd in inherited.values() if fd > 2))
        try:
            options |= self._join_cgroups(session.pid)
            session.ask(rpc.RESTORE, self._notified, opts={**options, **self.images.options()})
        except PyruncError as error:
            raise self.images.explained(error, criu.RESTORE_LOG) from error
        finally:
            session.close()

    def _notify_directory(self) -> str:
        """A container that was made by a service of type notify has it mounted; who restores it may be
        another, and then nobody listens."""
        path = f"{self.directory}/notify"
        try:
            posix.mkdir(path, 0o755)
        except FileExistsError:
            pass
        return path

    def _open_namespaces(self) -> dict[str, int]:
        """Those that the config gives by path: criu joins them by the descriptors."""
        found = {}
        for item in self.config.linux.namespaces:
            if item.path and item.type in criu.EXTERNAL_NAMESPACES:
                with doing("open namespace", f"{item.origin}/path: {item.path}"):
                    fd = posix.open(item.path, posix.O_RDONLY | posix.O_CLOEXEC)
                self.host.saved[f"ns/{item.type}"] = fd
                found[criu.EXTERNAL_NAMESPACES[item.type][1]] = fd
        return found

    def _pipes(self) -> dict[str, int]:
        """Our standard streams, for the pipes that were the container's."""
        targets = self.images.read_descriptors()[:3]
        return {target: stream for stream, target in enumerate(targets) if target.startswith(_PIPE)}

    def _join_cgroups(self, pid: int) -> dict[str, object]:
        """criu first, so that what it makes is born there; in groups of resctrl, too. What it saved of paths
        counts from a root: on v1 those are told, so that another id has other cgroups."""
        self.host.pid = pid
        self.undo.append(lambda: remove_groups(self.host))
        groups = (op for op in self.planned.launch.attach if isinstance(op, (MakeResctrl, EnterResctrl)))
        for op in (*self.planned.cgroup.attach, *groups):
            apply(op, self.host)
        for _, path in self.planned.cgroup.paths:
            with doing("join cgroup", path):
                write_file(f"{path}/cgroup.procs", str(pid))
        if not self.planned.cgroup.paths or is_v2(self.planned.cgroup.paths):
            return {}
        roots = [
            {"ctrl": name, "path": path}
            for controllers, path in parse_cgroup(read_text(f"/proc/{pid}/cgroup"))
            for name in controllers or ("",)
        ]
        return {"cg_root": tuple(roots)}

    def _notified(self, script: str, pid: int, received: tuple[int, ...]) -> None:
        log.debug(f"{self.container.id}: criu is at {script}")
        if script == "setup-namespaces":
            self._take(pid)
            hooks = self.config.hooks
            text = hook_text(replaced(self.state, pid=pid), CREATING)
            finish(run_hooks("prestart", hooks.prestart, text, self.container.bundle))
            finish(run_hooks("createRuntime", hooks.create_runtime, text, self.container.bundle))
        elif script == "orphan-pts-master" and "console" in self.host.saved:
            with doing("send console", self.container.console_socket):
                fds.send(self.host.saved["console"], b"/dev/pts/ptmx", received)
        elif script == "post-restore":
            self._tell(self._take(pid))

    def _take(self, pid: int) -> spawn.Born:
        """A child of ours from here on, to be reaped whatever comes."""
        if self.born is None:
            self.born = spawn.Born(self.planned.launch, pid, posix.pidfd_open(pid), -1)
        return self.born

    def _tell(self, born: spawn.Born) -> None:
        """The processes are there, and stopped: what callers know of them is written before they go on."""
        self.state = replaced(self.state, pid=born.pid, start_time=born.start_time())
        store.save(self.container.state_root, self.state)
        hand_out(self.container.pidfd_socket, self.container.pid_file, born, b"standard")
