"""What type each value of a body has: who says {"Image": 1.5} is told so, before anything is made of it.

Pure. A name that isn't known is let through, for clients may be newer than we are; so is null, which is as if
nothing was said.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    # A type; (shape,): a list of it; {name: shape}: an object, whose other names are "*"
    Shape: TypeAlias = "type | tuple[Shape, ...] | dict[str, Shape]"

_WORDS: dict[type, str] = {
    str: "a string", int: "a whole number", bool: "true or false", list: "a list", dict: "an object",
}  # fmt: skip


def _all(names: str, shape: Shape) -> dict[str, Shape]:
    return dict.fromkeys(names.split(), shape)


_TEXTS: Shape = (str,)
_MAP: Shape = {"*": str}
_RATES: Shape = ({"Path": str, "Rate": int},)
_MOUNT: Shape = {
    **_all("Type Source Target Consistency", str),
    "ReadOnly": bool,
    "BindOptions": {
        "Propagation": str,
        **_all("NonRecursive CreateMountpoint ReadOnlyNonRecursive ReadOnlyForceRecursive", bool),
    },
    "VolumeOptions": {
        "NoCopy": bool, "Labels": _MAP, "Subpath": str, "DriverConfig": {"Name": str, "Options": _MAP},
    },
    "TmpfsOptions": {"SizeBytes": int, "Mode": int},
}  # fmt: skip
_ENDPOINT: Shape = {
    "Links": _TEXTS, "Aliases": _TEXTS, "MacAddress": str, "DriverOpts": _MAP,
    "IPAMConfig": {"IPv4Address": str, "IPv6Address": str, "LinkLocalIPs": _TEXTS},
}  # fmt: skip

# Cmd and Entrypoint may be a string or a list: who makes the container looks at them
CONFIG: dict[str, Shape] = {
    **_all("Hostname Domainname User Image WorkingDir StopSignal MacAddress", str),
    **_all("AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce NetworkDisabled ArgsEscaped", bool),
    **_all("Env OnBuild Shell", _TEXTS),
    **_all("Volumes ExposedPorts", {"*": dict}),
    "StopTimeout": int,
    "Labels": _MAP,
    "Healthcheck": {
        "Test": _TEXTS, **_all("Interval Timeout StartPeriod StartInterval Retries", int),
    },
}  # fmt: skip
HOST: dict[str, Shape] = {
    **_all("ContainerIDFile NetworkMode VolumeDriver CgroupnsMode IpcMode Cgroup PidMode UTSMode", str),
    **_all("UsernsMode Runtime Isolation CgroupParent CpusetCpus CpusetMems", str),
    **_all("AutoRemove Privileged PublishAllPorts ReadonlyRootfs OomKillDisable Init", bool),
    **_all("OomScoreAdj ShmSize CpuShares Memory NanoCpus BlkioWeight CpuPeriod CpuQuota PidsLimit", int),
    **_all("CpuRealtimePeriod CpuRealtimeRuntime MemoryReservation MemorySwap MemorySwappiness", int),
    **_all("CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth", int),
    **_all("Binds VolumesFrom CapAdd CapDrop Dns DnsOptions DnsSearch ExtraHosts GroupAdd Links", _TEXTS),
    **_all("SecurityOpt DeviceCgroupRules MaskedPaths ReadonlyPaths", _TEXTS),
    **_all("Tmpfs Sysctls StorageOpt Annotations", _MAP),
    **_all("BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps", _RATES),
    "BlkioWeightDevice": ({"Path": str, "Weight": int},),
    "ConsoleSize": (int,),
    "DeviceRequests": (dict,),
    "Devices": (_all("PathOnHost PathInContainer CgroupPermissions", str),),
    "LogConfig": {"Type": str, "Config": _MAP},
    "Mounts": (_MOUNT,),
    "PortBindings": {"*": (_all("HostIp HostPort", str),)},
    "RestartPolicy": {"Name": str, "MaximumRetryCount": int},
    "Ulimits": ({"Name": str, "Soft": int, "Hard": int},),
}
CREATE: dict[str, Shape] = {
    **CONFIG, "HostConfig": HOST, "NetworkingConfig": {"EndpointsConfig": {"*": _ENDPOINT}},
}  # fmt: skip
CONNECT: dict[str, Shape] = {"Container": str, "EndpointConfig": _ENDPOINT}
DISCONNECT: dict[str, Shape] = {"Container": str, "Force": bool}
EXEC: dict[str, Shape] = {
    **_all("AttachStdin AttachStdout AttachStderr Tty Privileged", bool),
    **_all("User WorkingDir DetachKeys", str),
    "Env": _TEXTS,
    "Cmd": _TEXTS,
    "ConsoleSize": (int,),
}
EXEC_START: dict[str, Shape] = {"Detach": bool, "Tty": bool, "ConsoleSize": (int,)}
NETWORK: dict[str, Shape] = {
    **_all("Name Driver Scope", str),
    **_all("Internal Attachable Ingress ConfigOnly EnableIPv4 EnableIPv6 CheckDuplicate", bool),
    "Options": _MAP,
    "Labels": _MAP,
    "IPAM": {
        "Driver": str,
        "Options": _MAP,
        "Config": ({**_all("Subnet IPRange Gateway", str), "AuxiliaryAddresses": _MAP},),
    },
}
VOLUME: dict[str, Shape] = {"Name": str, "Driver": str, "DriverOpts": _MAP, "Labels": _MAP}


def require_shape(value: Any, shape: Shape, where: str = "") -> None:
    """Raises PyruncError INVALID with the place of what is something else."""
    if value is None:
        return
    if isinstance(shape, tuple):
        _require_type(value, list, where)
        for number, item in enumerate(value):
            require_shape(item, shape[0], f"{where}/{number}")
    elif isinstance(shape, dict):
        _require_type(value, dict, where)
        for name, item in value.items():
            known = shape.get(name, shape.get("*"))
            if known is not None:
                require_shape(item, known, f"{where}/{name}")
    else:
        _require_type(value, shape, where)


def _require_type(value: Any, kind: type, where: str) -> None:
    if type(value) is not kind:
        raise PyruncError(
            INVALID, "the body is not what it should be", where or "/", f"is not {_WORDS[kind]}"
        )
