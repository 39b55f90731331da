"""The options of `run` and `create` to the API's document. Reads the files that they name, no more."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.docker.mounts import parse_mount, split_fields, split_volumes
from pyrunc.docker.pairs import read_pairs, to_map
from pyrunc.docker.ports import parse_exposed, parse_published
from pyrunc.docker.units import parse_bytes
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Given = dict[str, Any]

_BILLION = 1_000_000_000
_STREAMS = ("stdin", "stdout", "stderr")
_HEALTH_ON_FAILURE_LABEL = "io.pyrunc.health-on-failure"

# What goes as it is: option -> key of HostConfig
_PLAIN_HOST = {
    "blkio-weight": "BlkioWeight", "cap-add": "CapAdd", "cap-drop": "CapDrop",
    "cgroup-parent": "CgroupParent", "cgroupns": "CgroupnsMode", "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod", "cpu-rt-runtime": "CpuRealtimeRuntime", "cpu-shares": "CpuShares",
    "cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems", "device-cgroup-rule": "DeviceCgroupRules",
    "dns": "Dns", "dns-search": "DnsSearch", "group-add": "GroupAdd", "ipc": "IpcMode",
    "isolation": "Isolation", "link": "Links", "oom-kill-disable": "OomKillDisable",
    "oom-score-adj": "OomScoreAdj", "pid": "PidMode", "privileged": "Privileged",
    "publish-all": "PublishAllPorts", "read-only": "ReadonlyRootfs", "rm": "AutoRemove",
    "runtime": "Runtime", "userns": "UsernsMode", "uts": "UTSMode", "volume-driver": "VolumeDriver",
    "volumes-from": "VolumesFrom",
}  # fmt: skip
_BYTES_HOST = {"memory": "Memory", "memory-reservation": "MemoryReservation", "shm-size": "ShmSize"}
_RATES = {
    "device-read-bps": ("BlkioDeviceReadBps", True), "device-write-bps": ("BlkioDeviceWriteBps", True),
    "device-read-iops": ("BlkioDeviceReadIOps", False), "device-write-iops": ("BlkioDeviceWriteIOps", False),
}  # fmt: skip
_HEALTH = {
    "health-interval": "Interval", "health-timeout": "Timeout", "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval",
}  # fmt: skip


def make_request(given: Given) -> dict[str, Any]:
    """The body of POST /containers/create. Raises PyruncError INVALID, or what reading a file raises."""
    binds, volumes = split_volumes(given["volume"])
    bindings = parse_published(given["publish"])
    exposed = {**parse_exposed(given["expose"]), **{port: {} for port in bindings}}
    host = _host(given)
    host["Binds"] = binds or None
    host["PortBindings"] = bindings
    document = _config(given)
    document["ExposedPorts"] = exposed
    document["Volumes"] = volumes or None
    host["NetworkMode"], endpoints = _networks(given)
    document["HostConfig"] = host
    document["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return document


def _config(given: Given) -> dict[str, Any]:
    image, *command = given["words"]
    attached = _attached(given)
    labels = to_map(read_pairs(given["label-file"], given["label"], looks_up=False))
    if given["health-on-failure"]:
        labels[_HEALTH_ON_FAILURE_LABEL] = given["health-on-failure"]
    document: dict[str, Any] = {
        "Image": image,
        "Cmd": command or None,
        "Hostname": given["hostname"],
        "Domainname": given["domainname"],
        "User": given["user"],
        "WorkingDir": given["workdir"],
        "Tty": given["tty"],
        "OpenStdin": given["interactive"],
        "StdinOnce": given["interactive"] and "stdin" in attached,
        **{f"Attach{name.title()}": name in attached for name in _STREAMS},
        "Env": read_pairs(given["env-file"], given["env"], looks_up=True),
        "Labels": labels,
        "StopSignal": given["stop-signal"],
    }
    if "entrypoint" in given["given"]:
        document["Entrypoint"] = [given["entrypoint"]]
    if "stop-timeout" in given["given"]:
        document["StopTimeout"] = given["stop-timeout"]
    health = _health(given)
    if health:
        document["Healthcheck"] = health
    return document


def _attached(given: Given) -> tuple[str, ...]:
    if given["attach"]:
        wanted = tuple(name.lower() for name in given["attach"])
        unknown = set(wanted) - set(_STREAMS)
        if unknown:
            raise PyruncError(INVALID, "valid streams are STDIN, STDOUT and STDERR", min(unknown))
        if given.get("detach"):
            raise PyruncError(INVALID, "conflicting options: cannot specify both --attach and --detach")
        return wanted
    if given.get("detach"):
        return ()
    return _STREAMS if given["interactive"] else _STREAMS[1:]


def _health(given: Given) -> dict[str, Any]:
    made: dict[str, Any] = {
        key: int(given[name] * _BILLION) for name, key in _HEALTH.items() if name in given["given"]
    }
    if given["health-retries"]:
        made["Retries"] = given["health-retries"]
    if given["health-cmd"]:
        made["Test"] = ["CMD-SHELL", given["health-cmd"]]
    if not given["no-healthcheck"]:
        return made
    if made:
        raise PyruncError(INVALID, "--no-healthcheck conflicts with --health-* options")
    return {"Test": ["NONE"]}


def _host(given: Given) -> dict[str, Any]:
    host: dict[str, Any] = {
        key: list(given[name]) if type(given[name]) is tuple else given[name]
        for name, key in _PLAIN_HOST.items()
        if name in given["given"]
    }
    for name, key in _BYTES_HOST.items():
        if given[name]:
            host[key] = parse_bytes(given[name])
    for name, (key, is_bytes) in _RATES.items():
        if given[name]:
            host[key] = [_rate(word, is_bytes) for word in given[name]]
    host.update(
        {
            "ContainerIDFile": given["cidfile"],
            "RestartPolicy": parse_restart(given["restart"]),
            "LogConfig": {"Type": given["log-driver"], "Config": to_map(given["log-opt"])},
            "DnsOptions": list(given["dns-opt"] + given["dns-option"]),
            "ExtraHosts": [_extra_host(word) for word in given["add-host"]],
            "Mounts": [parse_mount(word) for word in given["mount"]],
            "Tmpfs": dict(word.partition(":")[::2] for word in given["tmpfs"]),
            "Sysctls": to_map(given["sysctl"]),
            "Annotations": to_map(given["annotation"]) or None,
            "StorageOpt": to_map(given["storage-opt"]) or None,
            "Ulimits": [_ulimit(word) for word in given["ulimit"]],
            "BlkioWeightDevice": [_weight(word) for word in given["blkio-weight-device"]],
        }
    )
    if given["cpus"]:
        host["NanoCpus"] = round(given["cpus"] * _BILLION)
    if given["memory-swap"]:
        host["MemorySwap"] = -1 if given["memory-swap"] == "-1" else parse_bytes(given["memory-swap"])
    if given["memory-swappiness"] != -1:
        host["MemorySwappiness"] = given["memory-swappiness"]
    if "pids-limit" in given["given"]:
        host["PidsLimit"] = given["pids-limit"]
    if "init" in given["given"]:
        host["Init"] = given["init"]
    if given["rm"] and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise PyruncError(INVALID, "conflicting options: cannot specify both --restart and --rm")
    _set_devices(host, given)
    _set_security(host, given)
    return host


def parse_restart(text: str) -> dict[str, Any]:
    """Of "on-failure:3". Raises PyruncError INVALID."""
    name, colon, count = text.partition(":")
    if colon and not count.isdigit():
        raise PyruncError(INVALID, "invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _rate(word: str, is_bytes: bool) -> dict[str, Any]:
    path, colon, rate = word.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise PyruncError(INVALID, f"invalid device rate: {word}", hint="/dev/NAME:RATE")
    if not is_bytes and not rate.isdigit():
        raise PyruncError(INVALID, f"invalid rate for device: {word}", "", "it is a positive integer")
    return {"Path": path, "Rate": parse_bytes(rate) if is_bytes else int(rate)}


def _weight(word: str) -> dict[str, Any]:
    path, colon, weight = word.rpartition(":")
    if not colon or not path.startswith("/dev/") or not weight.isdigit():
        raise PyruncError(INVALID, f"invalid weight for device: {word}", hint="/dev/NAME:10 to 1000")
    return {"Path": path, "Weight": int(weight)}


def _extra_host(word: str) -> str:
    name, sign, address = word.partition("=") if "=" in word.partition(":")[0] else word.partition(":")
    if not sign or not name or not address:
        raise PyruncError(INVALID, f'bad format for add-host: "{word}"', hint="NAME:ADDRESS")
    return f"{name}:{address.removeprefix('[').removesuffix(']')}"


def _ulimit(word: str) -> dict[str, Any]:
    name, equals, value = word.partition("=")
    soft, colon, hard = value.partition(":")
    try:
        limits = int(soft), int(hard if colon else soft)
    except ValueError:
        raise PyruncError(INVALID, f"invalid ulimit argument: {word}", hint="NAME=SOFT[:HARD]") from None
    if not equals or (limits[1] != -1 and limits[0] > limits[1]):
        raise PyruncError(INVALID, f"ulimit soft limit must be less than or equal to hard limit: {word}")
    return {"Name": name, "Soft": limits[0], "Hard": limits[1]}


def _set_devices(host: dict[str, Any], given: Given) -> None:
    devices, names = [], []
    for word in given["device"]:
        if not word.startswith("/") and "=" in word:
            names.append(word)
            continue
        source, *rest = word.split(":")
        if len(rest) > 2:
            raise PyruncError(INVALID, f"invalid device specification: {word}")
        is_mode = len(rest) == 1 and rest[0] and not set(rest[0]) - set("rwm")
        target = rest[0] if rest and not is_mode else source
        mode = rest[-1] if is_mode or len(rest) == 2 else "rwm"
        if not mode or set(mode) - set("rwm"):
            raise PyruncError(INVALID, f"invalid mode for device: {word}", hint="of the letters rwm")
        devices.append({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode})
    requests = [{"Driver": "cdi", "DeviceIDs": names}] if names else []
    if given["gpus"]:
        requests.append(_gpus(given["gpus"]))
    host["Devices"], host["DeviceRequests"] = devices, requests or None


def _gpus(text: str) -> dict[str, Any]:
    if text != "all" and not text.isdigit():
        raise PyruncError(INVALID, f"invalid value of --gpus: {text}", hint="all, or a number")
    return {"Count": -1 if text == "all" else int(text), "Capabilities": [["gpu"]]}


def _set_security(host: dict[str, Any], given: Given) -> None:
    """A seccomp profile is a file here, and travels as its text."""
    made = []
    for word in given["security-opt"]:
        name, sign, value = word.partition("=") if "=" in word else word.partition(":")
        if name == "systempaths" and value == "unconfined":
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
            continue
        if name == "seccomp" and value not in ("unconfined", "builtin", ""):
            with doing("opening seccomp profile failed", value):
                data = read_whole(value)
            word = f"seccomp={jsonio.dumps(jsonio.loads(data, value))}"
        elif not sign and name != "no-new-privileges":
            raise PyruncError(INVALID, f'invalid --security-opt: "{word}"')
        made.append(word)
    host["SecurityOpt"] = made or None


# --- networks -------------------------------------------------------------------------------------


def _networks(given: Given) -> tuple[str, dict[str, Any]]:
    """(NetworkMode, EndpointsConfig). What says more of a network than its name is about the first."""
    wanted = [parse_network(word) for word in given["network"] + given["net"]] or [("default", {})]
    mode, settings = wanted[0]
    aliases = given["network-alias"] + given["net-alias"]
    if aliases:
        settings.setdefault("Aliases", []).extend(aliases)
    ipam = {
        key: list(given[name]) if type(given[name]) is tuple else given[name]
        for name, key in (("ip", "IPv4Address"), ("ip6", "IPv6Address"), ("link-local-ip", "LinkLocalIPs"))
        if given[name]
    }
    if ipam:
        settings["IPAMConfig"] = {**settings.get("IPAMConfig", {}), **ipam}
    if given["mac-address"]:
        settings["MacAddress"] = given["mac-address"]
    names = [name for name, _ in wanted]
    if len(set(names)) != len(names):
        raise PyruncError(INVALID, "network is named more than once", max(names, key=names.count))
    if len(wanted) == 1 and not settings:
        return mode, {}
    return mode, dict(wanted)


def parse_network(text: str) -> tuple[str, dict[str, Any]]:
    """NAME, or name=NAME,alias=…,ip=…: (name, its settings). Raises PyruncError INVALID."""
    if "=" not in text:
        return text, {}
    name = ""
    settings: dict[str, Any] = {}
    for field in split_fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            raise PyruncError(INVALID, f"invalid field '{field}' must be a key=value pair")
        if key == "name":
            name = value
        elif key == "alias":
            settings.setdefault("Aliases", []).append(value)
        elif key in ("ip", "ip6", "link-local-ip"):
            _set_address(settings.setdefault("IPAMConfig", {}), key, value)
        elif key == "mac-address":
            settings["MacAddress"] = value
        elif key == "driver-opt":
            settings.setdefault("DriverOpts", {}).update(to_map([value]))
        elif key == "gw-priority":
            settings["GwPriority"] = int(value) if value.lstrip("-").isdigit() else 0
        else:
            raise PyruncError(INVALID, f"invalid field key {key}")
    if not name:
        raise PyruncError(INVALID, f"network name is missing: {text}")
    return name, settings


def _set_address(ipam: dict[str, Any], key: str, value: str) -> None:
    if key == "link-local-ip":
        ipam.setdefault("LinkLocalIPs", []).append(value)
    else:
        ipam["IPv4Address" if key == "ip" else "IPv6Address"] = value
