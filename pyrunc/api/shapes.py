"""Docker's JSON for containers, as API 1.51 has it. Pure: from what the engine says, to what a client
reads."""

from __future__ import annotations

from pyrunc.api.human import duration
from pyrunc.oci.state import format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_QUOTED = set(" \t\n\"'\\$`|&;<>()*?[]#~%!{}")


def moment(nanoseconds: int) -> str:
    """RFC 3339, as format_time; Go's year 1 for none."""
    return format_time(nanoseconds) if nanoseconds else "0001-01-01T00:00:00Z"


def state(found: Any) -> dict[str, Any]:
    made = {
        "Status": found.status,
        "Running": found.is_running,
        "Paused": found.status == "paused",
        "Restarting": found.status == "restarting",
        "OOMKilled": found.oom_killed,
        "Dead": found.status == "dead",
        "Pid": found.pid,
        "ExitCode": found.exit_code,
        "Error": found.error,
        "StartedAt": found.started_at,
        "FinishedAt": found.finished_at,
    }
    if found.health is not None:
        made["Health"] = found.health
    return made


def status_line(found: Any, created_ns: int, now: float, seconds_of: Any) -> str:
    """What `ps` shows. `seconds_of`: of an RFC 3339 time, since 1970."""
    health = (found.health or {}).get("Status", "")
    note = {"healthy": " (healthy)", "unhealthy": " (unhealthy)", "starting": " (health: starting)"}.get(
        health, ""
    )
    if found.status in ("running", "paused"):
        up = f"Up {duration(now - seconds_of(found.started_at))}"
        return f"{up} (Paused)" if found.status == "paused" else up + note
    ago = f"{duration(now - seconds_of(found.finished_at))} ago"
    if found.status == "restarting":
        return f"Restarting ({found.exit_code}) {ago}"
    if found.status == "exited":
        return f"Exited ({found.exit_code}) {ago}"
    return "Removal In Progress" if found.status == "removing" else "Created"


def command_line(container: Any) -> str:
    words = [container.path, *container.args]
    return " ".join(f"'{word}'" if not word or _QUOTED & set(word) else word for word in words)


def mounts(points: Iterable[Any], mountpoint_of: Any = None) -> list[dict[str, Any]]:
    made = []
    for point in points:
        one = {
            "Type": point.type,
            "Name": point.name,
            "Source": point.source,
            "Destination": point.destination,
            "Driver": point.driver,
            "Mode": point.mode,
            "RW": point.writable,
            "Propagation": point.propagation,
        }
        made.append({key: value for key, value in one.items() if value or key not in ("Name", "Driver")})
    return made


def ports_map(container: Any, endpoints: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """`NetworkSettings.Ports`: what is exposed, with what it is published at."""
    made: dict[str, Any] = dict.fromkeys(container.config.get("ExposedPorts") or ())
    for port in container.host["PortBindings"] or ():
        made.setdefault(port, None)
    for _, endpoint in endpoints:
        for port in endpoint.ports:
            key = f"{port.container_port}/{port.protocol}"
            made[key] = (made.get(key) or []) + [
                {"HostIp": port.host_address, "HostPort": str(port.host_port)}
            ]
    return made


def ports_list(container: Any, endpoints: Iterable[tuple[Any, Any]]) -> list[dict[str, Any]]:
    """As `ps` has them."""
    made = []
    for key, bindings in ports_map(container, endpoints).items():
        number, _, protocol = key.partition("/")
        if not number.isdigit():
            continue
        one = {"PrivatePort": int(number), "Type": protocol or "tcp"}
        if not bindings:
            made.append(one)
        for binding in bindings or ():
            made.append({"IP": binding["HostIp"], "PublicPort": int(binding["HostPort"]), **one})
    return made


def endpoint_settings(network: Any, endpoint: Any, wish: dict[str, Any]) -> dict[str, Any]:
    """`endpoint` None: of a container that does not run."""
    wire: Any = network.wire if network is not None else None
    is_there = endpoint is not None and wire is not None
    return {
        "IPAMConfig": wish.get("IPAMConfig"),
        "Links": wish.get("Links"),
        "Aliases": wish.get("Aliases"),
        "MacAddress": endpoint.mac if is_there else "",
        "DriverOpts": wish.get("DriverOpts"),
        "GwPriority": wish.get("GwPriority") or 0,
        "NetworkID": network.id if network is not None else "",
        "EndpointID": endpoint.id if is_there else "",
        "Gateway": wire.gateway if is_there else "",
        "IPAddress": endpoint.address if is_there else "",
        "IPPrefixLen": int(wire.subnet.rpartition("/")[2]) if is_there else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": list(endpoint.names) if is_there and not wire.is_default else None,
    }


def networks_map(
    container: Any, endpoints: Iterable[tuple[Any, Any]], network_ids: dict[str, Any]
) -> dict[str, Any]:
    """By name: those that it is on, or, if it does not run, will be. `network_ids`: name -> network."""
    there = {network.name: (network, endpoint) for network, endpoint in endpoints}
    mode = container.host["NetworkMode"]
    names = [] if mode.startswith("container:") else [mode, *container.networks]
    if mode not in network_ids and mode not in there:
        names = [
            *(network.name for network in network_ids.values() if network.id == mode),
            *container.networks,
        ]
    made = {}
    for name in dict.fromkeys((*names, *there)):
        network, endpoint = there.get(name, (network_ids.get(name), None))
        made[name] = endpoint_settings(network, endpoint, container.networks.get(name) or {})
    return made


def network_settings(
    container: Any,
    endpoints: list[tuple[Any, Any]],
    network_ids: dict[str, Any],
    namespace: str,
    is_running: bool,
) -> dict[str, Any]:
    networks = networks_map(container, endpoints, network_ids)
    default = networks.get("bridge") or {}
    return {
        "Bridge": "",
        "SandboxID": container.id if namespace else "",
        "SandboxKey": namespace,
        "Ports": ports_map(container, endpoints) if is_running else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": default.get("EndpointID", ""),
        "Gateway": default.get("Gateway", ""),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": default.get("IPAddress", ""),
        "IPPrefixLen": default.get("IPPrefixLen", 0),
        "IPv6Gateway": "",
        "MacAddress": default.get("MacAddress", ""),
        "Networks": networks,
    }


def container_inspect(
    container: Any,
    found: Any,
    settings: dict[str, Any],
    directory: str,
    driver: dict[str, Any],
    exec_ids: list[str],
) -> dict[str, Any]:
    """`settings`: of its networks; `driver`: GraphDriver."""
    has_log = container.host["LogConfig"]["Type"] == "json-file"
    was_started = found.status != "created" or container.error
    path = f"{directory}/" if was_started else ""
    return {
        "Id": container.id,
        "Created": moment(container.created_ns),
        "Path": container.path,
        "Args": list(container.args),
        "State": state(found),
        "Image": container.image_id,
        "ResolvConfPath": f"{path}resolv.conf" if path else "",
        "HostnamePath": f"{path}hostname" if path else "",
        "HostsPath": f"{path}hosts" if path else "",
        "LogPath": f"{path}{container.id}-json.log" if path and has_log else "",
        "Name": f"/{container.name}",
        "RestartCount": found.restart_count,
        "Driver": driver["Name"],
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": exec_ids or None,
        "HostConfig": container.host,
        "GraphDriver": driver,
        "Mounts": mounts(container.mounts),
        "Config": container.config,
        "NetworkSettings": settings,
    }


def container_summary(
    container: Any,
    found: Any,
    image: str,
    endpoints: list[tuple[Any, Any]],
    network_ids: dict[str, Any],
    line: str,
) -> dict[str, Any]:
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": image,
        "ImageID": container.image_id,
        "Command": command_line(container),
        "Created": container.created_ns // 1_000_000_000,
        "Ports": ports_list(container, endpoints) if found.is_running else [],
        "Labels": container.labels,
        "State": found.status,
        "Status": line,
        "HostConfig": {"NetworkMode": container.host["NetworkMode"]},
        "NetworkSettings": {"Networks": networks_map(container, endpoints, network_ids)},
        "Mounts": mounts(container.mounts),
    }
