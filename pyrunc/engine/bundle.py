"""A container's directory made ready for its shim: config.json, the files of /etc, volumes, shim.json."""

from __future__ import annotations

import errno
import os
import platform
import stat

from pyrunc import jsonio
from pyrunc.engine import devices, etcfiles
from pyrunc.engine.hostconfig import log_size
from pyrunc.engine.model import VOLUME
from pyrunc.engine.spec.compose import make_config
from pyrunc.engine.spec.facts import Facts
from pyrunc.engine.users import find_user
from pyrunc.errors import CONFLICT, INVALID, PyruncError, doing
from pyrunc.files import read_whole, write_atomically
from pyrunc.kernel import syscall
from pyrunc.kernel.const import MNT_DETACH, MS_BIND, MS_REC
from pyrunc.kernel.paths import fd_path, open_inside
from pyrunc.record import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.endpoints import Place
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.model import Container, MountPoint
    from pyrunc.engine.settings import Settings
    from pyrunc.engine.volumes import Volumes

_SHM_FLAGS = 2 | 4 | 8  # nosuid, nodev, noexec
_ON_FAILURE_LABEL = "io.pyrunc.health-on-failure"
_NS_PER_SECOND = 1_000_000_000


class Bundles:
    def __init__(self, layout: Layout, settings: Settings, containers: Containers, volumes: Volumes) -> None:
        self._layout, self.settings = layout, settings
        self._containers, self._volumes = containers, volumes
        self._bounding = devices.bounding_capabilities()
        self._limits = devices.limits_above_which_we_cannot_go(self._bounding)
        self._is_cgroup2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")

    def make(self, container: Container, place: Place, rootfs: str) -> None:
        """Everything but shim.json. Raises PyruncError."""
        for mount in container.mounts:
            if mount.type == VOLUME:
                self._volumes.prepare(mount.name)
                if mount.copies_up:
                    self._volumes.copy_up(mount.name, rootfs, mount.destination)
        files = self._write_files(container, place)
        namespaces = self._shared_namespaces(container)
        if place.namespace:
            namespaces["network"] = place.namespace
        with doing("look up the user", container.config["User"]):
            user = find_user(rootfs, container.config["User"], container.host["GroupAdd"] or ())
        facts = Facts(
            rootfs=rootfs,
            user=user,
            hostname=container.config["Hostname"],
            files=files,
            namespaces=namespaces,
            cgroup=self.cgroup_of(container),
            bounding=self._bounding,
            limits=self._limits,
            devices=devices.find_devices(
                container.host["Devices"] or (), everything=container.host["Privileged"]
            ),
            is_cgroup2=self._is_cgroup2,
            has_apparmor=os.path.isdir("/sys/kernel/security/apparmor"),
            has_mqueue=os.path.isdir("/dev/mqueue"),
            machine=platform.machine(),
        )
        config = make_config(self._with_parts(self._with_defaults(container, place)), facts)
        path = f"{self._layout.container(container.id)}/config.json"
        write_atomically(path, jsonio.dumps(config).encode("utf-8", "surrogateescape"), 0o600)

    def _with_defaults(self, container: Container, place: Place) -> Container:
        """Where it joins another's network which is the host's, that is its mode; ulimits of daemon.json
        stand unless others were asked for."""
        host = devices.with_numbers(container.host)
        if place.is_host:
            host["NetworkMode"] = "host"
        asked = {limit["Name"] for limit in host["Ulimits"] or ()}
        host["Ulimits"] = [
            *(host["Ulimits"] or ()),
            *(
                {"Name": name, "Soft": soft, "Hard": hard}
                for name, (soft, hard) in self.settings.default_ulimits.items()
                if name not in asked
            ),
        ]
        return replaced(container, host=host)

    def cgroup_of(self, container: Container) -> str:
        parent = container.host["CgroupParent"] or self.settings.cgroup_parent
        return f"{parent.rstrip('/') or ''}/{container.id}"

    def unmake(self, container: Container) -> None:
        """What `make` mounted. Files stay: `inspect` names them."""
        parts = [index for index, mount in enumerate(container.mounts) if mount.subpath]
        for path in (self._shm(container.id), *(self._part(container.id, index) for index in parts)):
            _unmount(path)

    # --- parts of volumes -------------------------------------------------------------------------

    def _part(self, id: str, index: int) -> str:
        return f"{self._layout.container(id)}/part-{index}"

    def _with_parts(self, container: Container) -> Container:
        """With a mount of ours in the place of each part of a volume: by its name, another container could
        have a symlink there by the time that the runtime looks."""
        mounts = list(container.mounts)
        for index, mount in enumerate(mounts):
            if mount.subpath:
                path = self._part(container.id, index)
                _mount_part(mount, path)
                mounts[index] = replaced(mount, source=path)
        return replaced(container, mounts=tuple(mounts))

    # --- namespaces that are shared ---------------------------------------------------------------

    def _shm(self, id: str) -> str:
        return f"{self._layout.container(id)}/shm"

    def _shared_namespaces(self, container: Container) -> dict[str, str]:
        """By type, and "shm": where /dev/shm comes from, if not from the container alone."""
        found: dict[str, str] = {}
        for kind, key in (("ipc", "IpcMode"), ("pid", "PidMode")):
            mode = container.host[key]
            if mode.startswith("container:"):
                other = self._containers.find(mode.partition(":")[2])
                state = self._containers.state(other)
                if not state.pid:
                    raise PyruncError(
                        CONFLICT, f"cannot join {key[:3]} of a non running container: {other.id}"
                    )
                found[kind] = f"/proc/{state.pid}/ns/{kind}"
                if kind == "ipc":
                    if other.host["IpcMode"] not in ("shareable", "host"):
                        raise PyruncError(
                            CONFLICT,
                            f"cannot join IPC of container {other.id}: non-shareable IPC",
                            hint="start it with --ipc shareable",
                        )
                    found["shm"] = self._shm(other.id) if other.host["IpcMode"] == "shareable" else "/dev/shm"
        if container.host["IpcMode"] == "shareable":
            found["shm"] = self._mount_shm(container)
        return found

    def _mount_shm(self, container: Container) -> str:
        path = self._shm(container.id)
        with doing("mount", path):
            os.makedirs(path, 0o700, exist_ok=True)
            if not os.path.ismount(path):
                data = f"mode=1777,size={container.host['ShmSize']}"
                syscall.mount("shm", path, "tmpfs", _SHM_FLAGS, data)
        return path

    # --- files of /etc ----------------------------------------------------------------------------

    def _write_files(self, container: Container, place: Place) -> tuple[tuple[str, str], ...]:
        directory = self._layout.container(container.id)
        if place.of_container:
            directory = self._layout.container(place.of_container)
        else:
            for name, text in self._texts(container, place).items():
                write_in_place(f"{directory}/{name}", text)
        return tuple((f"{directory}/{name}", f"/etc/{name}") for name in ("hosts", "hostname", "resolv.conf"))

    def rewrite_hosts(self, container: Container, place: Place) -> None:
        """Of a running container whose networks have changed."""
        text = self._texts(container, place)["hosts"]
        write_in_place(f"{self._layout.container(container.id)}/hosts", text)

    def _texts(self, container: Container, place: Place) -> dict[str, str]:
        config, host = container.config, container.host
        hostname = config["Hostname"] or os.uname().nodename
        resolv = (
            read_whole("/etc/resolv.conf").decode("utf-8", "replace") if _exists("/etc/resolv.conf") else ""
        )
        return {
            "hostname": hostname + "\n",
            "hosts": etcfiles.make_hosts(
                own=place.addresses,
                names=etcfiles.names_of(hostname, config["Domainname"]),
                extra=(*(host["ExtraHosts"] or ()), *place.linked),
                gateway=place.gateway,
                host=read_whole("/etc/hosts").decode("utf-8", "replace")
                if place.is_host and _exists("/etc/hosts")
                else "",
            ),
            "resolv.conf": etcfiles.make_resolv(
                resolv,
                servers=host["Dns"] or self.settings.dns,
                search=host["DnsSearch"] or self.settings.dns_search,
                options=host["DnsOptions"] or self.settings.dns_options,
                embedded=place.dns_server,
                is_host_network=place.is_host,
            ),
        }

    # --- shim.json --------------------------------------------------------------------------------

    def shim_settings(self, container: Container) -> dict[str, Any]:
        config, host = container.config, container.host
        made: dict[str, Any] = {
            "id": container.id,
            "bundle": self._layout.container(container.id),
            "state_root": self._layout.runtime_state,
            "terminal": container.has_terminal,
            "open_stdin": bool(config["OpenStdin"]),
            "stdin_once": bool(config["StdinOnce"]),
            "init": bool(host["Init"]),
            "start": False,
            "log": self._log_settings(container),
            "restart": make_restart(host["RestartPolicy"]),
            "health": _make_health(container),
            "stop_signal": config.get("StopSignal") or "TERM",
            "stop_timeout": config.get("StopTimeout", 10),
            "exit_command": list(self.settings.exit_command),
        }
        if host["Runtime"] != "pyrunc":
            made["runtime"] = self.settings.runtimes[host["Runtime"]]
        return {name: value for name, value in made.items() if value is not None}

    def _log_settings(self, container: Container) -> dict[str, Any]:
        wanted = container.host["LogConfig"]
        options = wanted["Config"]
        if wanted["Type"] == "none":
            return {"driver": "none"}
        files = (
            int(options["max-file"]) if "max-file" in options else 1 if options else self.settings.log_files
        )
        size = log_size(options["max-size"]) if "max-size" in options else self.settings.log_size_bytes
        return {
            "driver": wanted["Type"],
            "path": self._layout.log(container.id),
            "max_size": size,
            "max_file": files,
        }


def _unmount(path: str) -> None:
    """If something is mounted there: asked of the kernel alone, for what is bound from the same file system
    looks like any directory."""
    try:
        syscall.umount2(path, MNT_DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise PyruncError.from_errno(error.errno or 0, "unmount", path) from error


def _mount_part(mount: MountPoint, path: str) -> None:
    """Raises PyruncError INVALID if there is no such thing in the volume."""
    root = os.open(mount.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        part = open_inside(root, mount.subpath)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise PyruncError(
            INVALID, f"cannot access path {mount.subpath} of volume {mount.name}", "", why
        ) from error
    finally:
        os.close(root)
    try:
        with doing("mount a part of a volume", path):
            if stat.S_ISDIR(os.fstat(part).st_mode):
                os.makedirs(path, 0o700, exist_ok=True)
            else:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            _unmount(path)
            syscall.mount(fd_path(part), path, "", MS_BIND | MS_REC, "")
    finally:
        os.close(part)


def make_restart(policy: dict[str, Any]) -> dict[str, Any]:
    return {"name": policy["Name"], "maximum_retry_count": policy["MaximumRetryCount"]}


def _make_health(container: Container) -> dict[str, Any] | None:
    health = container.config.get("Healthcheck")
    if not health or health["Test"] == ["NONE"]:
        return None
    return {
        "test": health["Test"],
        "interval_ns": health.get("Interval") or 0,
        "timeout_ns": health.get("Timeout") or 0,
        "start_period_ns": health.get("StartPeriod") or 0,
        "start_interval_ns": health.get("StartInterval") or 0,
        "retries": health.get("Retries") or 0,
        "on_failure": container.labels.get(_ON_FAILURE_LABEL, "none"),
    }


def write_in_place(path: str, text: str) -> None:
    """The very file, for it may be mounted in a container: a new one under its name would not be seen
    there."""
    with doing("write", path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _exists(path: str) -> bool:
    return os.path.isfile(path)
