"""The whole of config.json, to be read at one go."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.engine.spec import seccomp
from pyrunc.engine.spec.mounts import make_mounts
from pyrunc.engine.spec.process import make_process, security_option
from pyrunc.engine.spec.resources import make_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.model import Container
    from pyrunc.engine.spec.facts import Facts

_OCI_VERSION = "1.0.2"


def make_config(container: Container, facts: Facts) -> dict[str, Any]:
    """Raises PyruncError INVALID for a wish that cannot be fulfilled."""
    process = make_process(container, facts)
    made: dict[str, Any] = {
        "ociVersion": _OCI_VERSION,
        "process": process,
        "root": {"path": facts.rootfs, "readonly": container.host["ReadonlyRootfs"]},
        "hostname": facts.hostname,
        "mounts": make_mounts(container, facts),
        "linux": _make_linux(container, facts, process["capabilities"]["bounding"]),
    }
    if container.config["Domainname"]:
        made["domainname"] = container.config["Domainname"]
    if container.host["UTSMode"] == "host":
        del made["hostname"]
        made.pop("domainname", None)
    if container.host["Annotations"]:
        made["annotations"] = container.host["Annotations"]
    return made


def _make_linux(container: Container, facts: Facts, capabilities: list[str]) -> dict[str, Any]:
    host = container.host
    made: dict[str, Any] = {
        "cgroupsPath": facts.cgroup,
        "namespaces": _make_namespaces(host, facts),
        "resources": make_resources(host, facts),
        "devices": [
            {"path": device.path, "type": device.type, "major": device.major, "minor": device.minor,
             "fileMode": device.mode, "uid": device.uid, "gid": device.gid}
            for device in facts.devices
        ],
        "maskedPaths": host["MaskedPaths"] or [],
        "readonlyPaths": host["ReadonlyPaths"] or [],
        "sysctl": host["Sysctls"] or {},
    }  # fmt: skip
    for mount in container.mounts:
        if mount.propagation in ("shared", "rshared"):
            made["rootfsPropagation"] = "shared"
        elif mount.propagation in ("slave", "rslave"):
            made.setdefault("rootfsPropagation", "slave")
    profile = _make_seccomp(host, facts, capabilities)
    if profile is not None:
        made["seccomp"] = profile
    return made


def _make_namespaces(host: dict[str, Any], facts: Facts) -> list[dict[str, str]]:
    """Each is new, or joined where `facts` have a path, or the host's where that was asked for."""
    modes = {
        "mount": "",
        "network": host["NetworkMode"],
        "uts": host["UTSMode"],
        "pid": host["PidMode"],
        "ipc": host["IpcMode"],
        "cgroup": host["CgroupnsMode"],
    }
    made = []
    for kind, mode in modes.items():
        if mode == "host":
            continue
        namespace = {"type": kind}
        if kind in facts.namespaces:
            namespace["path"] = facts.namespaces[kind]
        made.append(namespace)
    return made


def _make_seccomp(host: dict[str, Any], facts: Facts, capabilities: list[str]) -> dict[str, Any] | None:
    wanted = security_option(host, "seccomp", "builtin")
    if wanted == "unconfined" or (host["Privileged"] and wanted == "builtin"):
        return None
    if wanted == "builtin":
        return seccomp.default_profile(facts.machine, capabilities)
    profile = jsonio.loads(wanted.encode(), "/HostConfig/SecurityOpt")
    return seccomp.from_docker_profile(profile if type(profile) is dict else {}, facts.machine, capabilities)
