"""A machine for a test of networks: a namespace that plays the host, and one that plays the world outside.

world 203.0.113.2 ─── 203.0.113.1 host ─── bridges ─── containers
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from pyrunc.network import ipam, wiring
from pyrunc.network.model import Attachment, Endpoint, Network, PortBinding, Sandbox, Site, bridge_name
from pyrunc.record import replaced
from support.netns import Namespace

HOST, WORLD = "203.0.113.1", "203.0.113.2"


class Machine:
    """The host's namespace, the world's, and the containers that were made, each with its sandbox."""

    def __init__(self, run_root: Path) -> None:
        self.site = Site(run_root=str(run_root))
        self.host, self.world = Namespace(), Namespace()
        self.networks: list[Network] = []
        self.states: dict[str, Sandbox] = {}
        self._opened = [self.host, self.world]
        self._numbers = itertools.count(1)
        with self.host.entered():
            self._uplink()

    def _uplink(self) -> None:
        peer = f"/proc/{os.getpid()}/fd/{self.world.fd}"
        for line in (
            "link set lo up",
            f"link add uplink type veth peer name eth0 netns {peer}",
            f"addr add {HOST}/24 dev uplink",
            "link set uplink up",
        ):
            self.host.run("ip", *line.split())
        for line in (f"addr add {WORLD}/24 dev eth0", "link set eth0 up", "link set lo up"):
            self.world.run("ip", *line.split())

    def filter_bridges(self, wanted: bool) -> None:
        """bridge-nf-call-iptables: do packets between ports of a bridge pass the filter, too? Where it is on,
        as it is by default once the module is there, they take other ways through the filter."""
        self.host.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={int(wanted)}")

    def identity(self) -> str:
        return f"{next(self._numbers):012x}" + "0" * 52

    def network(self, name: str = "bridge", subnet: str = "172.17.0.0/16", **fields: object) -> Network:
        number = self.identity()
        given = {"bridge": bridge_name(number), "gateway": ipam.choose_gateway(subnet), **fields}
        network = Network(id=number, name=name, subnet=subnet, **given)
        self.networks.append(network)
        with self.host.entered():
            wiring.create_network(self.site, network)
        return network

    def endpoint(self, network: Network, container: str, **fields: object) -> Endpoint:
        everyone = [item for state in self.states.values() for item in state.attachments]
        taken = [item.endpoint.address for item in everyone if item.network.id == network.id]
        own = self.states[container].attachments
        address = ipam.choose_address(network, taken)
        interface = ipam.choose_interface("eth", [item.endpoint.interface for item in own])
        return Endpoint(
            **{
                "id": self.identity(), "network_id": network.id, "container_id": container, "address":
                address, "mac": ipam.mac_of(address), "interface": interface, **fields,
            }
        )  # fmt: skip

    def connect(self, container: str, network: Network, **fields: object) -> Attachment:
        attachment = Attachment(network=network, endpoint=self.endpoint(network, container, **fields))
        before = self.states[container]
        state = replaced(before, attachments=(*before.attachments, attachment))
        with self.host.entered():
            wiring.connect(self.site, state, attachment)
            self.states[container] = state
            wiring.publish(self.site, state)
        return attachment

    def disconnect(self, container: str, network: Network) -> None:
        own = self.states[container].attachments
        (gone,) = [item for item in own if item.network.id == network.id]
        state = replaced(self.states[container], attachments=tuple(item for item in own if item != gone))
        with self.host.entered():
            wiring.unpublish(self.site, self.states[container])
            wiring.disconnect(self.site, state, gone)
            wiring.publish(self.site, state)
        self.states[container] = state

    def container(
        self, name: str, *networks: Network, ports: tuple[PortBinding, ...] = (), **fields: object
    ) -> Namespace:
        """A sandbox with an endpoint on each network; the ports are those of its first endpoint."""
        self.states[name] = Sandbox(container_id=name, **fields)
        with self.host.entered():
            path = wiring.create_sandbox(self.site, name)
        for network in networks:
            self.connect(name, network, ports=ports if network is networks[0] else ())
        inside = Namespace(path)
        self._opened.append(inside)
        return inside

    def address(self, container: str, number: int = 0) -> str:
        return self.states[container].attachments[number].endpoint.address

    def remove_container(self, name: str) -> None:
        state = self.states.pop(name)
        with self.host.entered():
            wiring.unpublish(self.site, state)
            for attachment in state.attachments:
                wiring.disconnect(self.site, Sandbox(container_id=name), attachment)
            wiring.remove_sandbox(self.site, name)

    def close_networks(self) -> None:
        with self.host.entered():
            while self.networks:
                wiring.remove_network(self.site, self.networks.pop())

    def close(self) -> None:
        try:
            for name in list(self.states):
                self.remove_container(name)
            self.close_networks()
            with self.host.entered():
                assert wiring.residue(self.site) == ()
        finally:
            for namespace in self._opened:
                namespace.close()


def port(host_port: int, container_port: int, address: str = "0.0.0.0", protocol: str = "tcp") -> PortBinding:
    return PortBinding(
        protocol=protocol, container_port=container_port, host_address=address, host_port=host_port
    )  # fmt: skip
