"""A container's place in networks: joined when it starts, left when it has ended, changed while it runs.

What is recorded comes first and goes last: so a crash in between leaves a record too many, which the next
start of the container or of the daemon takes away with all that belongs to it.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack

from pyrunc.engine.model import to_document
from pyrunc.engine.networks import HOST, NULL, Network, network_from
from pyrunc.errors import CONFLICT, DENIED, INVALID, PyruncError
from pyrunc.later import later
from pyrunc.network import ipam, plan, ports, sandbox
from pyrunc.network.model import DNS_ADDRESS, Attachment, Endpoint, PortBinding, PortRequest, Sandbox, Site
from pyrunc.record import Record, replaced
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.db import Database
    from pyrunc.engine.events import Bus
    from pyrunc.engine.model import Container
    from pyrunc.engine.networks import Networks
    from pyrunc.engine.settings import Settings
    from pyrunc.network import wiring
else:
    wiring = later("pyrunc.network.wiring")


_FDS_AT_ONCE = 16


class Place(Record):
    """`namespace`: to be joined; none for a new one, or the host's. `of_container`: whose network it shares.
    `linked`: NAME:ADDRESS of --link; `dns_server`: ours, if it is on a network with names."""

    namespace: str = ""
    is_host: bool = False
    of_container: str = ""
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    linked: tuple[str, ...] = ()
    dns_server: str = ""


class Endpoints:
    def __init__(
        self,
        database: Database,
        bus: Bus,
        site: Site,
        settings: Settings,
        networks: Networks,
        containers: Containers,
    ) -> None:
        self._database, self._bus, self._site, self.settings = database, bus, site, settings
        self._networks, self._containers = networks, containers
        self._held: dict[str, ports.Held] = {}
        self._last: dict[str, str] = {}  # address given out last, by network: the next one is another
        self._guard = threading.Lock()  # of choosing ports and publishing them

    # --- looking ----------------------------------------------------------------------------------

    def of_container(self, id: str) -> list[tuple[Network, Endpoint]]:
        found = []
        for row in self._database.rows("endpoints", container=id):
            network = self._database.row("networks", id=row["network_id"])
            if network is not None:
                found.append((network_from(network), endpoint_from(row)))
        return sorted(found, key=lambda pair: pair[1].interface)

    def of_network(self, id: str) -> list[Endpoint]:
        return [endpoint_from(row) for row in self._database.rows("endpoints", network=id)]

    def namespace(self, id: str) -> str:
        """The file that holds its network namespace; nothing if it has none of ours."""
        path = sandbox.path_of(self._site, id)
        return path if sandbox.is_there(path) else ""

    # --- start and end of a container -------------------------------------------------------------

    def join(self, container: Container) -> Place:
        """Everything that its networks need, before it starts. Raises PyruncError; nothing is left then."""
        mode = container.host["NetworkMode"]
        if mode.startswith("container:"):
            return self._join_container(mode.partition(":")[2])
        if mode == "host":
            return Place(is_host=True)
        if mode == "none":
            return Place()
        wishes = self._wishes(container)
        with ExitStack() as undo:
            undo.callback(self.give_up, container)
            wiring.create_sandbox(self._site, container.id)
            for network, wish in wishes:
                self._connect(container, network, wish)
            self._publish_ports(container)
            undo.pop_all()
        return self.place(container)

    def place(self, container: Container) -> Place:
        """What `join` has come to."""
        mode = container.host["NetworkMode"]
        if mode.startswith("container:"):
            return self._join_container(mode.partition(":")[2])
        if mode in ("host", "none"):
            return Place(is_host=mode == "host")
        pairs = self.of_container(container.id)
        attachments = _attachments(pairs)
        way_out = plan.gateway_of(attachments)
        gateways = [way_out.network.gateway] if way_out else []
        gateways += [item.network.gateway for item in attachments if item.network.is_default]
        return Place(
            namespace=sandbox.path_of(self._site, container.id),
            addresses=tuple(endpoint.address for _, endpoint in pairs),
            gateway=gateways[0] if gateways else "",
            linked=tuple(self._linked(container)),
            dns_server=DNS_ADDRESS if any(item.network.is_default is False for item in attachments) else "",
        )

    def _join_container(self, text: str) -> Place:
        other = self._containers.find(text)
        mode = other.host["NetworkMode"]
        state = self._containers.state(other)
        if not state.pid:
            raise PyruncError(CONFLICT, f"cannot join network of a non running container: {other.id}")
        if mode == "host":
            return Place(is_host=True, of_container=other.id)
        namespace = self.namespace(other.id) or f"/proc/{state.pid}/ns/net"
        return Place(namespace=namespace, of_container=other.id)

    def _wishes(self, container: Container) -> list[tuple[Network, dict[str, Any]]]:
        """(network, endpoint settings), the one of --network first: its device is eth0."""
        mode = container.host["NetworkMode"]
        first = self._networks.find(mode)
        wishes: dict[str, tuple[Network, dict[str, Any]]] = {first.id: (first, {})}
        for name, settings in container.networks.items():
            network = self._networks.find(name)
            wishes[network.id] = network, settings or {}
        for network, _ in wishes.values():
            if network.driver in (HOST, NULL):
                raise PyruncError(INVALID, f"cannot join {network.name} beside other networks")
        return list(wishes.values())

    def _linked(self, container: Container) -> Iterable[str]:
        """`--link NAME:ALIAS`: a line in the hosts file."""
        for text in container.host["Links"] or ():
            name, _, alias = text.partition(":")
            other = self._containers.find(name)
            addresses = [endpoint.address for _, endpoint in self.of_container(other.id)]
            if not addresses:
                raise PyruncError(
                    CONFLICT, f"Cannot link to a non running container: /{other.name} AS {container.name}"
                )
            for word in dict.fromkeys((alias.rpartition("/")[2] or other.name, other.name, other.short_id)):
                yield f"{word}:{addresses[0]}"

    def hand_over_ports(self, id: str, directory: str) -> None:
        """The sockets that hold its published ports, to its shim, which is there as long as the container.
        Raises PyruncError."""
        held = self._held.pop(id, None)
        if held is None:
            return
        with held:
            fds = held.descriptors
            for first in range(0, len(fds), _FDS_AT_ONCE):
                some = fds[first : first + _FDS_AT_ONCE]
                protocol.call(directory, "hold", {f"port{number}": fd for number, fd in enumerate(some)})

    def rename(self, container: Container, old: str) -> None:
        """Of a container that is found by its name. Under its lock."""
        for network, endpoint in self.of_container(container.id):
            names = tuple(container.name if name == old else name for name in endpoint.names)
            renamed = replaced(endpoint, names=names)
            self._put(renamed)
            assert network.wire is not None
            wiring.rename(self._site, Attachment(network=network.wire, endpoint=renamed))

    def leave(self, container: Container) -> list[Network]:
        """All that `join` made, or half made, goes. Which networks it was on: nobody has been told yet."""
        pairs = self.of_container(container.id)
        state = self._sandbox(container, pairs)
        if any(endpoint.ports for _, endpoint in pairs):
            wiring.unpublish(self._site, state)
        held = self._held.pop(container.id, None)
        if held is not None:
            held.close()
        for network, endpoint in pairs:
            self._disconnect(container, network, endpoint)
        if self.namespace(container.id):
            wiring.remove_sandbox(self._site, container.id)
        return [network for network, _ in pairs]

    def give_up(self, container: Container) -> None:
        """`leave`, of a container that did not start."""
        self.tell_left(container, self.leave(container))

    def tell_left(self, container: Container, networks: Iterable[Network]) -> None:
        for network in networks:
            self._publish(network, "disconnect", container)

    # --- one network ------------------------------------------------------------------------------

    def connect(self, container: Container, network: Network, wish: dict[str, Any]) -> None:
        """A container that runs, or will. Under its lock. Raises PyruncError."""
        self._require_own_namespace(container)
        if network.driver in (HOST, NULL):
            raise PyruncError(DENIED, f"container cannot be connected to {network.name} network")
        there = {found.id for found, _ in self.of_container(container.id)}
        if network.id in there:
            raise PyruncError(
                DENIED, f"endpoint with name {container.name} already exists in network {network.name}"
            )
        if self.namespace(container.id):
            self._connect(container, network, wish)
            self._publish_ports(container)

    def _require_own_namespace(self, container: Container) -> None:
        mode = container.host["NetworkMode"]
        if mode == "host" or mode.startswith("container:"):
            raise PyruncError(
                INVALID,
                "container sharing network namespace with another container or host cannot be connected to "
                "any other network",
            )
        if mode == "none":
            raise PyruncError(
                DENIED,
                "container cannot be connected to multiple networks with one of the networks in private "
                "(none) mode",
            )

    def disconnect(self, container: Container, network: Network) -> bool:
        """Whether it was on it. Under its lock."""
        for found, endpoint in self.of_container(container.id):
            if found.id == network.id:
                self._disconnect(container, found, endpoint)
                self._publish(found, "disconnect", container)
                self._publish_ports(container)
                return True
        return False

    def _connect(self, container: Container, network: Network, wish: dict[str, Any]) -> None:
        network = self._networks.make_ready(network)
        assert network.wire is not None
        endpoint = self._record(container, network, wish)
        wiring.create_network(self._site, network.wire)  # after a reboot it is not there
        attachment = Attachment(network=network.wire, endpoint=endpoint)
        state = self._sandbox(container, self.of_container(container.id))
        try:
            wiring.connect(self._site, state, attachment)
        except BaseException:
            self._database.delete("endpoints", network=network.id, container=container.id)
            raise
        self._publish(network, "connect", container)

    def _sandbox(self, container: Container, pairs: list[tuple[Network, Endpoint]]) -> Sandbox:
        """`pairs`: as they shall be."""
        attachments = tuple(_attachments(pairs))
        servers = container.host["Dns"] or self.settings.dns
        gateway = next((item.network.gateway for item in attachments if not item.network.internal), "")
        names = (("host.docker.internal", gateway),) if gateway else ()
        return Sandbox(
            container_id=container.id, attachments=attachments, dns_servers=tuple(servers), dns_names=names
        )

    def _record(self, container: Container, network: Network, wish: dict[str, Any]) -> Endpoint:
        """The address is chosen and taken in one transaction."""
        assert network.wire is not None
        wanted = (wish.get("IPAMConfig") or {}).get("IPv4Address") or ""
        own = [endpoint.interface for _, endpoint in self.of_container(container.id)]
        with self._database.transaction():
            others = self.of_network(network.id)
            address = ipam.choose_address(
                network.wire, [other.address for other in others], wanted, self._last.get(network.id, "")
            )
            mac = wish.get("MacAddress") or container.config.get("MacAddress") or ""
            names = (container.name, *(wish.get("Aliases") or ()), container.short_id)
            endpoint = Endpoint(
                id=secrets.token_hex(32),
                network_id=network.id,
                container_id=container.id,
                address=address,
                mac=ipam.require_mac(mac) if mac else ipam.mac_of(address),
                interface=ipam.choose_interface(network.wire.interface_prefix, own),
                names=tuple(dict.fromkeys(names)),
                gateway_priority=wish.get("GwPriority") or 0,
            )
            self._put(endpoint)
        self._last[network.id] = address
        return endpoint

    def _put(self, endpoint: Endpoint) -> None:
        self._database.put(
            "endpoints",
            to_document(endpoint),
            network=endpoint.network_id,
            container=endpoint.container_id,
        )

    def _disconnect(self, container: Container, network: Network, endpoint: Endpoint) -> None:
        assert network.wire is not None
        left = [pair for pair in self.of_container(container.id) if pair[0].id != network.id]
        state = self._sandbox(container, left)
        wiring.disconnect(self._site, state, Attachment(network=network.wire, endpoint=endpoint))
        self._database.delete("endpoints", network=network.id, container=container.id)

    # --- ports ------------------------------------------------------------------------------------

    def _publish_ports(self, container: Container) -> None:
        """On the network that is its way out; ports that were chosen stay."""
        pairs = self.of_container(container.id)
        way_out = plan.gateway_of(_attachments(pairs))
        chosen = tuple(port for _, endpoint in pairs for port in endpoint.ports)
        if way_out is None:
            return
        with self._guard:
            if not chosen:
                requests = tuple(port_requests(container))
                if not requests:
                    return
                chosen, held = wiring.choose_ports(self._site, way_out.network, requests)
                self._held[container.id] = held
            for _, endpoint in pairs:
                wanted = chosen if endpoint.id == way_out.endpoint.id else ()
                if endpoint.ports != wanted:
                    self._put(replaced(endpoint, ports=wanted))
            wiring.publish(self._site, self._sandbox(container, self.of_container(container.id)))

    # --- all --------------------------------------------------------------------------------------

    def reconcile(self, running: Iterable[Container]) -> None:
        """At the daemon's start: what is recorded of those who run is made so, and the rest goes."""
        running = list(running)
        ids = {container.id for container in running}
        for row in self._database.rows("endpoints"):
            if row["container_id"] not in ids:
                self._database.delete("endpoints", network=row["network_id"], container=row["container_id"])
        networks = [self._networks.as_set(network) for network in self._networks.known()]
        wires = [self._networks.make_ready(network).wire for network in networks]
        sandboxes = [
            self._sandbox(container, self.of_container(container.id))
            for container in running
            if self.namespace(container.id)
        ]
        wiring.reconcile(self._site, [wire for wire in wires if wire is not None], sandboxes)

    def _publish(self, network: Network, action: str, container: Container) -> None:
        self._bus.publish(
            "network", action, network.id, container=container.id, name=network.name, type=network.driver
        )


def endpoint_from(document: dict[str, Any]) -> Endpoint:
    bindings = tuple(PortBinding(**port) for port in document.pop("ports"))
    return Endpoint(ports=bindings, names=tuple(document.pop("names")), **document)


def _attachments(pairs: Iterable[tuple[Network, Endpoint]]) -> list[Attachment]:
    return [
        Attachment(network=network.wire, endpoint=endpoint)
        for network, endpoint in pairs
        if network.wire is not None
    ]


def port_requests(container: Container) -> Iterable[PortRequest]:
    """Of -p and -P. Raises PyruncError."""
    bindings: dict[str, Any] = dict(container.host["PortBindings"] or {})
    if container.host["PublishAllPorts"]:
        for port in container.config.get("ExposedPorts") or ():
            bindings.setdefault(port, [{}])
    for port, wanted in bindings.items():
        for binding in wanted or [{}]:
            yield ports.parse_request(port, binding.get("HostIp") or "", binding.get("HostPort") or "")
