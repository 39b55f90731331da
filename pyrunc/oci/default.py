"""The config.json that `pyrunc spec` writes: runc's, in runc's order, for people who start from it."""

from __future__ import annotations

from pyrunc.oci.state import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
)  # fmt: skip
_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def default_document(*, rootless: bool, uid: int, gid: int, cgroup_v2: bool = False) -> dict[str, Any]:
    """`rootless`: for the user `uid` with the group `gid`, who becomes root inside and has no networks or
    cgroups to give away. `cgroup_v2`: the host has only that, and a cgroup namespace makes sense."""
    namespaces = ["pid", "ipc", "uts", "mount"] if rootless else ["pid", "network", "ipc", "uts", "mount"]
    namespaces += ["cgroup"] if cgroup_v2 else []
    namespaces += ["user"] if rootless else []
    linux: dict[str, Any] = {}
    if rootless:
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    linux["namespaces"] = [{"type": type} for type in namespaces]
    linux["maskedPaths"] = list(_MASKED_PATHS)
    linux["readonlyPaths"] = list(_READONLY_PATHS)
    return {
        "ociVersion": OCI_VERSION,
        "process": _make_process(),
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyrunc",
        "mounts": _make_mounts(rootless),
        "linux": linux,
    }


def _make_process() -> dict[str, Any]:
    sets = ("bounding", "effective", "permitted", "ambient")
    return {
        "terminal": True,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {name: list(_CAPABILITIES) for name in sets},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    }


def _make_mounts(rootless: bool) -> list[dict[str, Any]]:
    """A user cannot mount sysfs without a network namespace, so /sys is the host's; nor give a terminal to
    group 5, which isn't mapped."""
    devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if rootless:
        sys = _make_mount("/sys", "none", "/sys", ["rbind", "nosuid", "noexec", "nodev", "ro"])
    else:
        devpts.append("gid=5")
        sys = _make_mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"])
    shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
    cgroup = ["nosuid", "noexec", "nodev", "relatime", "ro"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _make_mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _make_mount("/dev/pts", "devpts", "devpts", devpts),
        _make_mount("/dev/shm", "tmpfs", "shm", shm),
        _make_mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
        sys,
        _make_mount("/sys/fs/cgroup", "cgroup", "cgroup", cgroup),
    ]


def _make_mount(destination: str, type: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": type, "source": source, "options": options}
