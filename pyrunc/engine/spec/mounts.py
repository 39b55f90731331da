"""`mounts` of config.json: what Linux programs expect, files of ours in /etc, then what was asked for."""

from __future__ import annotations

from pyrunc.engine.model import BIND, TMPFS
from pyrunc.engine.spec.process import security_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.model import Container, MountPoint
    from pyrunc.engine.spec.facts import Facts

_QUIET = ("nosuid", "noexec", "nodev")
_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
_OPPOSITES = {"exec": "noexec", "suid": "nosuid", "dev": "nodev", "rw": "ro"}


def make_mounts(container: Container, facts: Facts) -> list[dict[str, Any]]:
    """Parents before what is mounted within them. One that was asked for takes the place of ours."""
    asked = [_make_asked(mount) for mount in container.mounts]
    asked += [_make_tmpfs(path, options) for path, options in (container.host["Tmpfs"] or {}).items()]
    targets = {_clean(mount["destination"]) for mount in asked}
    files = [
        _mount(destination, "bind", source, ("rbind", "rprivate", *_read_only_root(container)))
        for source, destination in facts.files
    ]
    made = [
        mount
        for mount in (*_system_mounts(container, facts), *files)
        if _clean(mount["destination"]) not in targets
    ]
    return made + sorted(asked, key=lambda mount: _clean(mount["destination"]).count("/"))


def _clean(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _read_only_root(container: Container) -> tuple[str, ...]:
    return ("ro",) if container.host["ReadonlyRootfs"] else ()


def _mount(destination: str, kind: str, source: str, options: tuple[str, ...]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _system_mounts(container: Container, facts: Facts) -> list[dict[str, Any]]:
    host = container.host
    access = () if host["Privileged"] else ("ro",)
    cgroup_access = () if security_option(host, "writable-cgroups") == "true" else access
    made = [
        _mount("/proc", "proc", "proc", _QUIET),
        _mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        _mount(
            "/dev/pts", "devpts", "devpts",
            ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        _mount("/sys", "sysfs", "sysfs", (*_QUIET, *access)),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", (*cgroup_access, *_QUIET)),
    ]  # fmt: skip
    if host["IpcMode"] == "host":
        if facts.has_mqueue:
            made.append(_mount("/dev/mqueue", "bind", "/dev/mqueue", ("rbind", "rprivate")))
        made.append(_mount("/dev/shm", "bind", "/dev/shm", ("rbind", "rprivate")))
    else:
        made.append(_mount("/dev/mqueue", "mqueue", "mqueue", _QUIET))
        shm = facts.namespaces.get("shm")
        if shm:
            made.append(_mount("/dev/shm", "bind", shm, ("rbind", "rprivate")))
        elif host["IpcMode"] != "none":
            size = f"size={host['ShmSize']}"
            made.append(_mount("/dev/shm", "tmpfs", "shm", (*_QUIET, "mode=1777", size)))
    return made


def _make_asked(mount: MountPoint) -> dict[str, Any]:
    if mount.type == TMPFS:
        return _make_tmpfs(mount.destination, ",".join(mount.options))
    access = () if mount.writable else ("rro",)
    propagation = mount.propagation or ("rprivate" if mount.type == BIND else "rslave")
    bind = () if "bind" in mount.options else ("rbind",)
    if "bind" in mount.options and not mount.writable:
        access = ("ro",)
    return _mount(mount.destination, "bind", mount.source, (*bind, *mount.options, propagation, *access))


def _make_tmpfs(destination: str, text: str) -> dict[str, Any]:
    given = [word for word in text.split(",") if word]
    refused = {_OPPOSITES[word] for word in given if word in _OPPOSITES}
    kept = [word for word in _TMPFS_DEFAULTS if word not in refused and word not in given]
    return _mount(destination, "tmpfs", "tmpfs", (*kept, *given))
