"""/networks."""

from __future__ import annotations

from pyrunc.api import bodies
from pyrunc.api.call import Empty, Json
from pyrunc.api.shapes import moment
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class Networks(Protocol):
        def all(self) -> list[Any]: ...
        def find(self, text: str) -> Any: ...
        def create(self, wanted: dict[str, Any]) -> Any: ...
        def remove(self, text: str) -> None: ...
        def prune(self, wanted: Callable[[Any], bool], in_use: Callable[[Any], bool]) -> list[str]: ...

    class Connections(Protocol):
        def connect(self, network: str, text: str, wish: dict[str, Any]) -> None: ...
        def disconnect(self, network: str, text: str, *, force: bool) -> None: ...

    class Needs(Protocol):
        networks: Networks
        endpoints: Any
        containers: Any
        listing: Any
        connections: Connections


LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")


def shape(engine: Needs, network: Any, *, with_containers: bool) -> dict[str, Any]:
    wire = network.wire
    pools = []
    if wire is not None:
        pool = {"Subnet": wire.subnet, "Gateway": wire.gateway}
        if wire.ip_range:
            pool["IPRange"] = wire.ip_range
        if wire.aux_addresses:
            pool["AuxiliaryAddresses"] = dict(wire.aux_addresses)
        pools.append(pool)
    containers = {}
    for endpoint in engine.endpoints.of_network(network.id) if with_containers else ():
        container = engine.containers.get(endpoint.container_id)
        containers[endpoint.container_id] = {
            "Name": container.name if container is not None else "",
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": f"{endpoint.address}/{wire.subnet.rpartition('/')[2]}",
            "IPv6Address": "",
        }
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": moment(network.created_ns),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": pools},
        "Internal": bool(wire is not None and wire.internal),
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": containers,
        "Options": network.shown_options,
        "Labels": network.labels,
    }


def list_networks(engine: Needs, call: Call) -> Json:
    filters = call.filters(LIST_FILTERS)
    has_labels = engine.listing.label_test(filters)
    found = [network for network in engine.networks.all() if has_labels(network.labels)]
    tests: dict[str, Callable[[Any, str], bool]] = {
        "driver": lambda network, value: network.driver == value,
        "id": lambda network, value: network.id.startswith(value),
        "name": lambda network, value: value in network.name,
        "scope": lambda network, value: value == "local",
        "type": lambda network, value: network.is_predefined is (value == "builtin"),
        "dangling": lambda network, value: (
            not network.is_predefined and not engine.endpoints.of_network(network.id)
        ) is (value in ("true", "1")),
    }  # fmt: skip
    for name, test in tests.items():
        values = filters.get(name, ())
        if values:
            found = [network for network in found if any(test(network, value) for value in values)]
    return Json(value=[shape(engine, network, with_containers=False) for network in found])


def create(engine: Needs, call: Call) -> Json:
    made = engine.networks.create(call.document(bodies.NETWORK))
    return Json(value={"Id": made.id, "Warning": ""}, status=201)


def inspect(engine: Needs, call: Call) -> Json:
    return Json(value=shape(engine, engine.networks.find(call.names["name"]), with_containers=True))


def remove(engine: Needs, call: Call) -> Empty:
    engine.networks.remove(call.names["name"])
    return Empty()


def connect(engine: Needs, call: Call) -> Empty:
    wanted = call.document(bodies.CONNECT)
    engine.connections.connect(call.names["name"], _container(wanted), wanted.get("EndpointConfig") or {})
    return Empty(status=200)


def disconnect(engine: Needs, call: Call) -> Empty:
    wanted = call.document(bodies.DISCONNECT)
    engine.connections.disconnect(call.names["name"], _container(wanted), force=bool(wanted.get("Force")))
    return Empty(status=200)


def _container(wanted: dict[str, Any]) -> str:
    if not wanted.get("Container"):
        raise PyruncError(INVALID, "no container was named")
    return str(wanted["Container"])


def prune(engine: Needs, call: Call) -> Json:
    filters = call.filters(("label", "label!", "until"))
    has_labels, until = engine.listing.label_test(filters), engine.listing.until_ns(filters)
    wished = engine.listing.wished_networks()
    removed = engine.networks.prune(
        lambda network: has_labels(network.labels) and (not until or network.created_ns < until),
        lambda network: network.name in wished or bool(engine.endpoints.of_network(network.id)),
    )
    return Json(value={"NetworksDeleted": removed or None})


ROUTES: tuple[Route, ...] = (
    ("GET", "/networks", list_networks),
    ("POST", "/networks/create", create),
    ("POST", "/networks/prune", prune),
    ("POST", "/networks/{name}/connect", connect),
    ("POST", "/networks/{name}/disconnect", disconnect),
    ("GET", "/networks/{name}", inspect),
    ("DELETE", "/networks/{name}", remove),
)
