"""Docker's Config and HostConfig: completed, so that `inspect` has every key, and judged before anything is
made.

Pure. What we cannot do is refused here, by name: an option that does nothing would be worse than none.
"""

from __future__ import annotations

import copy

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MEMORY_LEAST_BYTES = 6 << 20
_PERIOD_US = 1000, 1_000_000
SHM_BYTES = 64 << 20
RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
LOG_DRIVERS = ("json-file", "local", "none")
_RUNTIMES_OF_OURS = ("", "pyrunc", "io.containerd.runc.v2")

# Every key that API 1.51 knows, with what it is when nobody said anything
HOST_DEFAULTS: dict[str, Any] = {
    "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "json-file", "Config": {}},
    "NetworkMode": "bridge", "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "AutoRemove": False, "VolumeDriver": "", "VolumesFrom": None, "ConsoleSize": [0, 0], "CapAdd": None,
    "CapDrop": None, "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": None,
    "GroupAdd": None, "IpcMode": "private", "Cgroup": "", "Links": None, "OomScoreAdj": 0, "PidMode": "",
    "Privileged": False, "PublishAllPorts": False, "ReadonlyRootfs": False, "SecurityOpt": None,
    "UTSMode": "", "UsernsMode": "", "ShmSize": SHM_BYTES, "Runtime": "pyrunc", "Isolation": "",
    "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
    "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [],
    "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [], "CpuPeriod": 0, "CpuQuota": 0,
    "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [],
    "DeviceCgroupRules": None, "DeviceRequests": None, "MemoryReservation": 0, "MemorySwap": 0,
    "MemorySwappiness": None, "OomKillDisable": None, "PidsLimit": None, "Ulimits": [], "CpuCount": 0,
    "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "Mounts": None, "Tmpfs": None,
    "Sysctls": None, "Init": None, "StorageOpt": None, "Annotations": None, "MaskedPaths": None,
    "ReadonlyPaths": None,
}  # fmt: skip

CONFIG_DEFAULTS: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
    "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": [], "Cmd": None,
    "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": {},
}  # fmt: skip

MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# What we do not do, and what to say of it: key -> sentence
_REFUSED = {
    "DeviceRequests": "device requests (--gpus, and names of CDI) are not supported",
    "StorageOpt": "storage options (--storage-opt) are not supported",
    "Isolation": "isolation modes are of Windows",
    "VolumeDriver": "volume drivers other than local are not supported",
    "Cgroup": "joining another container's cgroup is not supported",
    "CpuCount": "CpuCount is of Windows",
    "CpuPercent": "CpuPercent is of Windows",
    "IOMaximumIOps": "IOMaximumIOps is of Windows",
    "IOMaximumBandwidth": "IOMaximumBandwidth is of Windows",
}
_NOTHING: tuple[Any, ...] = (None, "", 0, [], {}, "default", "local")


def require_cpus(host: dict[str, Any], there: int) -> None:
    """No more than `there` are. Raises PyruncError INVALID, with Docker's sentence."""
    if host["NanoCpus"] > there * 1_000_000_000:
        raise PyruncError(
            INVALID,
            f"range of CPUs is from 0.01 to {there:.2f}, as there are only {there} CPUs available",
        )


def require_endpoints(networks: dict[str, Any]) -> None:
    """Endpoint settings by network. Raises PyruncError UNSUPPORTED for addresses that we can't give."""
    for name, settings in networks.items():
        wanted = (settings or {}).get("IPAMConfig") or {}
        for key in ("IPv6Address", "LinkLocalIPs"):
            if wanted.get(key):
                raise PyruncError(
                    UNSUPPORTED, "IPv6 and link-local addresses are not supported", f"network {name}", key
                )


def complete_host(
    given: dict[str, Any], runtimes: tuple[str, ...] = (), log_driver: str = "json-file"
) -> dict[str, Any]:
    """HostConfig with all of its keys. `runtimes`: names beside our own; `log_driver`: where none is named.

    Raises PyruncError INVALID or UNSUPPORTED for what cannot be.
    """
    host = copy.deepcopy(HOST_DEFAULTS)
    host.update({key: value for key, value in given.items() if value is not None and key in host})
    for key, sentence in _REFUSED.items():
        if host[key] not in _NOTHING:
            raise PyruncError(UNSUPPORTED, sentence, f"/HostConfig/{key}")
    _complete_restart(host)
    _complete_log(host, log_driver if not (given.get("LogConfig") or {}).get("Type") else "")
    _complete_modes(host, runtimes)
    require_resources(host)
    if host["Privileged"]:
        host["MaskedPaths"], host["ReadonlyPaths"] = None, None
    else:
        for key, paths in (("MaskedPaths", MASKED_PATHS), ("ReadonlyPaths", READONLY_PATHS)):
            host[key] = list(paths) if host[key] is None else host[key]
    return host


def _complete_restart(host: dict[str, Any]) -> None:
    policy = dict(host["RestartPolicy"])
    policy["Name"] = policy.get("Name") or "no"
    policy["MaximumRetryCount"] = policy.get("MaximumRetryCount") or 0
    host["RestartPolicy"] = policy
    require_restart_policy(policy)
    if host["AutoRemove"] and policy["Name"] != "no":
        raise PyruncError(INVALID, "can't create 'AutoRemove' container with restart policy")


def require_restart_policy(policy: dict[str, Any]) -> None:
    """Raises PyruncError INVALID."""
    name, count = policy["Name"], policy["MaximumRetryCount"]
    if name not in RESTART_POLICIES:
        known = ", ".join(RESTART_POLICIES)
        raise PyruncError(INVALID, f"invalid restart policy: unknown policy '{name}'", hint=f"one of {known}")
    if count and name != "on-failure":
        raise PyruncError(
            INVALID, "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if count < 0:
        raise PyruncError(INVALID, "invalid restart policy: maximum retry count cannot be negative")


def _complete_log(host: dict[str, Any], default: str) -> None:
    """`default`: nothing where a driver was named."""
    log = dict(host["LogConfig"])
    log["Type"] = default or log["Type"]
    log["Config"] = dict(log.get("Config") or {})
    if log["Type"] not in LOG_DRIVERS:
        hint = f"one of {', '.join(LOG_DRIVERS)}"
        raise PyruncError(
            UNSUPPORTED, f"logger: no log driver named '{log['Type']}' is registered", hint=hint
        )
    for name, value in log["Config"].items():
        if name not in ("max-size", "max-file"):
            raise PyruncError(UNSUPPORTED, f"unknown log opt '{name}' for {log['Type']} log driver")
        if name == "max-size" and log_size(value) <= 0:
            raise PyruncError(INVALID, "invalid max-size of the log", value)
        if name == "max-file" and not (str(value).isdigit() and int(value) > 0):
            raise PyruncError(INVALID, "invalid max-file of the log", value)
    host["LogConfig"] = log


def log_size(text: str) -> int:
    """Bytes: "10m", "1g", "512k", "4096". 0 if it is none."""
    number, unit = str(text).lower().removesuffix("b").strip(), 1
    if number and number[-1] in "kmg":
        unit = 1 << 10 * ("kmg".index(number[-1]) + 1)
        number = number[:-1]
    return int(float(number) * unit) if number.replace(".", "", 1).isdigit() else 0


def _complete_modes(host: dict[str, Any], runtimes: tuple[str, ...]) -> None:
    host["NetworkMode"] = "bridge" if host["NetworkMode"] in ("", "default") else host["NetworkMode"]
    host["IpcMode"] = host["IpcMode"] or "private"
    host["CgroupnsMode"] = host["CgroupnsMode"] or "private"
    host["ShmSize"] = host["ShmSize"] or SHM_BYTES  # to the kernel 0 is a tmpfs without a bound
    if host["Runtime"] in _RUNTIMES_OF_OURS:
        host["Runtime"] = "pyrunc"
    elif host["Runtime"] not in runtimes:
        raise PyruncError(INVALID, f"unknown or invalid runtime name: {host['Runtime']}")
    for key, words in (
        ("IpcMode", ("private", "shareable", "host", "none")),
        ("PidMode", ("", "host")),
        ("UTSMode", ("", "host")),
        ("CgroupnsMode", ("private", "host")),
        ("UsernsMode", ("", "host")),
    ):
        is_other = key in ("IpcMode", "PidMode") and host[key].startswith("container:")
        if host[key] not in words and not is_other:
            raise PyruncError(INVALID, f"invalid {key}", host[key])
    if host["Privileged"] and host["CgroupnsMode"] != "host" and host["PidMode"] == "host":
        host["CgroupnsMode"] = "host"
    if host["ShmSize"] < 0:
        raise PyruncError(INVALID, "SHM size can not be less than 0")


def require_resources(host: dict[str, Any]) -> None:
    """What `create` and `update` both judge. Raises PyruncError INVALID."""
    memory, swap, reservation = host["Memory"], host["MemorySwap"], host["MemoryReservation"]
    if memory and memory < _MEMORY_LEAST_BYTES:
        raise PyruncError(INVALID, "Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise PyruncError(INVALID, "You should always set the Memory limit when using Memoryswap limit")
    if swap > 0 and swap < memory:
        raise PyruncError(INVALID, "Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory and reservation > memory:
        raise PyruncError(
            INVALID, "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    if host["NanoCpus"] and (host["CpuQuota"] or host["CpuPeriod"]):
        raise PyruncError(
            INVALID, "Conflicting options: Nano CPUs and CPU quota or period cannot both be set."
        )
    if host["NanoCpus"] < 0:
        raise PyruncError(INVALID, "invalid NanoCPUs: value cannot be negative")
    if host["CpuPeriod"] and not _PERIOD_US[0] <= host["CpuPeriod"] <= _PERIOD_US[1]:
        raise PyruncError(INVALID, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s")
    if 0 < host["CpuQuota"] < _PERIOD_US[0]:
        raise PyruncError(INVALID, "CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host["BlkioWeight"] and not 10 <= host["BlkioWeight"] <= 1000:
        raise PyruncError(INVALID, "Range of blkio weight is from 10 to 1000")
    swappiness = host["MemorySwappiness"]
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise PyruncError(INVALID, f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")


def complete_config(given: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Config with all of its keys: the image's, changed by what was given. `image`: the image config's
    `config` object. Raises PyruncError INVALID if there is nothing to run."""
    config = copy.deepcopy(CONFIG_DEFAULTS)
    config.update({key: value for key, value in given.items() if value is not None and key != "HostConfig"})
    config.pop("NetworkingConfig", None)
    if not config["Entrypoint"] and config["Entrypoint"] != [""]:
        config["Cmd"] = config["Cmd"] or image.get("Cmd")
        config["Entrypoint"] = image.get("Entrypoint")
    if config["Entrypoint"] == [""]:  # asked for: none
        config["Entrypoint"] = None
    config["Env"] = merge_environment(image.get("Env") or [], config["Env"] or [])
    config["Labels"] = {**(image.get("Labels") or {}), **(config["Labels"] or {})}
    for key in ("Volumes", "ExposedPorts"):
        merged = {**(image.get(key) or {}), **(config.get(key) or {})}
        if merged or key == "Volumes":
            config[key] = merged or None
    for key in ("User", "WorkingDir"):
        config[key] = config[key] or image.get(key) or ""
    for key in ("StopSignal", "Shell", "StopTimeout"):
        value = config.get(key) or image.get(key)
        if value:
            config[key] = value
    health = _merge_health(config.get("Healthcheck") or {}, image.get("Healthcheck") or {})
    config.pop("Healthcheck", None)
    if health:
        config["Healthcheck"] = health
    if not config["Cmd"] and not config["Entrypoint"]:
        raise PyruncError(INVALID, "no command specified")
    return config


def _merge_health(given: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Each value that was not given is the image's; ["NONE"] ends it."""
    merged = {**{k: v for k, v in image.items() if v}, **{k: v for k, v in given.items() if v}}
    if merged.get("Test") == ["NONE"] or not merged.get("Test"):
        return {"Test": ["NONE"]} if merged.get("Test") else {}
    for key, least in (("Interval", 1_000_000), ("Timeout", 1_000_000), ("StartPeriod", 1_000_000)):
        if merged.get(key) and merged[key] < least:
            raise PyruncError(INVALID, f"{key} in Healthcheck cannot be less than 1ms")
    if (merged.get("Retries") or 0) < 0:
        raise PyruncError(INVALID, "Retries in Healthcheck cannot be negative")
    return merged


def merge_environment(base: list[str], changes: list[str]) -> list[str]:
    """NAME=value entries; a later one takes the place of an earlier. A NAME alone takes it away."""
    entries: dict[str, str] = {}
    for entry in (*base, *changes):
        name, equals, _ = entry.partition("=")
        if not name:
            raise PyruncError(INVALID, "invalid environment variable", entry)
        if equals:
            entries[name] = entry
        else:
            entries.pop(name, None)
    return list(entries.values())
