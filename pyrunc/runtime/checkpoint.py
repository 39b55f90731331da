"""checkpoint: let criu save a container's processes as files, and end it unless it is to go on."""

from __future__ import annotations

import posix
from fcntl import F_GETFD, fcntl

from pyrunc import log
from pyrunc.errors import INVALID, UNSUPPORTED, WRONG_STATE, PyruncError, doing
from pyrunc.kernel.procfs import parse_mountinfo, read_text
from pyrunc.linux.cgroups.files import place_of
from pyrunc.linux.cgroups.processes import procs
from pyrunc.linux.criu import rpc
from pyrunc.linux.criu.session import Session, has_feature
from pyrunc.linux.facts import probe
from pyrunc.oci.config import Config, parse_config
from pyrunc.plan import criu
from pyrunc.plan.cgroups import CgroupPlan
from pyrunc.plan.launch import LaunchRequest, plan_launch
from pyrunc.plan.shared import Launch
from pyrunc.record import Record
from pyrunc.runtime import store
from pyrunc.runtime.create import systemd_manager, with_notify
from pyrunc.runtime.delete import destroy, end
from pyrunc.runtime.images import Images, config_file, resolved
from pyrunc.runtime.lifecycle import PAUSED, RUNNING
from pyrunc.runtime.state import status_of

_ACCESS_MODE, _WRITING, _READING = 0o3, 0o1, 0o0


class CheckpointRequest(Record):
    """Paths are absolute; `work_path` empty: the images' directory. `status_fd` -1: nobody to tell."""

    id: str
    state_root: str
    image_path: str
    work_path: str = ""
    status_fd: int = -1
    flags: criu.CriuFlags = criu.CriuFlags()


def checkpoint(request: CheckpointRequest) -> None:
    """Raises PyruncError, and the container runs on then."""
    lock = store.lock(request.state_root, request.id)
    try:
        state = store.load(request.state_root, request.id)
        status = status_of(request.state_root, state)
        if status not in (RUNNING, PAUSED):
            raise PyruncError(WRONG_STATE, f"container cannot be checkpointed in {status} state", state.id)
        if state.systemd_unit:
            systemd_manager()  # now: where it has to be fetched, the whole call begins anew
        if posix.geteuid() != 0:
            log.warning("checkpoint is untested with rootless containers")
        images = Images(request.image_path, request.work_path, is_new=True)
        try:
            _check(request, images)
            _dump(request, state, images)
        finally:
            images.close()
        if not (request.flags.leave_running or request.flags.pre_dump):
            end(state)
            destroy(request.state_root, state)
    finally:
        posix.close(lock)


def _check(request: CheckpointRequest, images: Images) -> None:
    flags, parent = request.flags, request.flags.parent_path
    if parent.startswith("/"):
        raise PyruncError(INVALID, "--parent-path must be relative to --image-path", parent)
    if parent:
        with doing("invalid --parent-path", parent):
            posix.stat(f"{parent}/.", dir_fd=images.fd)
    if request.status_fd >= 0:
        with doing("invalid --status-fd", str(request.status_fd)):
            fcntl(request.status_fd, F_GETFD)
    for wanted, feature, flag in (
        (flags.pre_dump, "mem_track", "--pre-dump"),
        (flags.lazy_pages, "lazy_pages", "--lazy-pages"),
    ):
        if wanted and not has_feature(feature):
            raise PyruncError(UNSUPPORTED, f"criu and the kernel can't do {flag} here", f"feature {feature}")


def _dump(request: CheckpointRequest, state: store.State, images: Images) -> None:
    config = parse_config(store.read_config(request.state_root, state.id))
    launch = _launch(config, request.state_root, state)
    options = criu.plan_dump(
        request.flags,
        pid=state.pid,
        rootfs=state.rootfs,
        mounts=resolved(state.rootfs, criu.host_mounts(launch)),
        masked=_masked_files(state.pid, launch),
        namespaces=_joined(config, state.pid),
        freezer=place_of(state.cgroup_paths, "freezer") or dict(state.cgroup_paths).get("", ""),
        config_file=config_file(config),
    )
    if not request.flags.pre_dump:
        images.write_descriptors(_stdio(state))
    kind = rpc.PRE_DUMP if request.flags.pre_dump else rpc.DUMP

    def notified(script: str, _pid: int, _fds: tuple[int, ...]) -> None:
        log.debug(f"{state.id}: criu is at {script}")
        if script == "status-ready" and request.status_fd >= 0:
            with doing("write to --status-fd"):
                posix.write(request.status_fd, b"\0")
                posix.close(request.status_fd)

    session = Session()
    try:
        session.ask(kind, notified, opts={**options, **images.options()})
    except PyruncError as error:
        raise images.explained(error, criu.DUMP_LOG) from error
    finally:
        session.close()


def _launch(config: Config, state_root: str, state: store.State) -> Launch:
    """As it was planned at create: what it mounts is what has to be found again."""
    if state.notify_socket:
        config = with_notify(config, store.directory(state_root, state.id))
    request = LaunchRequest(container_id=state.id, bundle=state.bundle, rootfs=state.rootfs)
    return plan_launch(config, probe(), CgroupPlan(paths=state.cgroup_paths), request)


def _masked_files(pid: int, launch: Launch) -> tuple[str, ...]:
    """Those masked paths that the container has, and that are files: a directory's tmpfs criu can save."""
    entries = parse_mountinfo(read_text(f"/proc/{pid}/mountinfo"))
    hidden = {entry.mountpoint for entry in entries if entry.root.endswith(criu.NULL.removeprefix("/dev"))}
    return tuple(path for path in criu.masked_paths(launch) if path in hidden)


def _joined(config: Config, pid: int) -> dict[str, int]:
    """Type -> inode of the namespaces that were given by a path."""
    return {
        item.type: posix.stat(f"/proc/{pid}/ns/{criu.EXTERNAL_NAMESPACES[item.type][0]}").st_ino
        for item in config.linux.namespaces
        if item.path and item.type in criu.EXTERNAL_NAMESPACES
    }


def _stdio(state: store.State) -> tuple[str, ...]:
    """What the standard streams are: pipes whose other end is not in the container are its caller's, and at
    restore the new caller's take their place."""
    pids = sorted({state.pid, *procs(state.cgroup_paths)}, key=lambda pid: (pid != state.pid, pid))
    inner: set[tuple[str, int]] = set()
    for pid in pids:
        for fd in _listed(f"/proc/{pid}/fd"):
            link = _link(pid, fd)
            if link.startswith("pipe:"):
                inner.add((link, _access_mode(pid, fd)))

    def target(stream: str) -> str:
        links = [link for link in (_link(pid, stream) for pid in pids) if link]
        other = _WRITING if stream == "0" else _READING
        ours = [link for link in links if link.startswith("pipe:") and (link, other) not in inner]
        return (ours or links or [""])[0]

    return tuple(target(stream) for stream in ("0", "1", "2"))


def _listed(path: str) -> list[str]:
    try:
        return posix.listdir(path)
    except (FileNotFoundError, ProcessLookupError):
        return []


def _link(pid: int, fd: str) -> str:
    try:
        return posix.readlink(f"/proc/{pid}/fd/{fd}")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _access_mode(pid: int, fd: str) -> int:
    try:
        text = read_text(f"/proc/{pid}/fdinfo/{fd}")
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return int(text.partition("flags:")[2].split(None, 1)[0], 8) & _ACCESS_MODE
