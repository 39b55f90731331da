"""Networks as users know them: made, found, taken away. What a container is to them is `endpoints`'."""

from __future__ import annotations

import re
import secrets
import time

from pyrunc.engine.model import to_document
from pyrunc.errors import CONFLICT, DENIED, INVALID, NOT_FOUND, UNSUPPORTED, PyruncError
from pyrunc.later import later
from pyrunc.network import ipam
from pyrunc.network.model import DEFAULT_BRIDGE, Site, bridge_name
from pyrunc.network.model import Network as Wire
from pyrunc.network.options import options_of, parse_options
from pyrunc.record import Record, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.engine.db import Database
    from pyrunc.engine.events import Bus
    from pyrunc.network import wiring
else:
    wiring = later("pyrunc.network.wiring")

BRIDGE, HOST, NULL = "bridge", "host", "null"
PREDEFINED = ("bridge", "host", "none")
_DRIVERS = {"bridge": BRIDGE, "host": HOST, "none": NULL}
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)


class Network(Record):
    """`wire`: what the network layer knows of it; None for host and none. `pool`: IPAM.Config as it was asked
    for."""

    id: str
    name: str
    driver: str
    created_ns: int
    wire: Wire | None = None
    labels: dict[str, str] = {}  # noqa: RUF012  (a Record's default: never changed)
    options: dict[str, str] = {}  # noqa: RUF012
    attachable: bool = False

    @property
    def is_predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def shown_options(self) -> dict[str, str]:
        """Nobody gives the default network any: tools look there for its bridge all the same."""
        wire = self.wire
        return options_of(wire) if wire is not None and wire.is_default else self.options


def network_from(document: dict[str, Any]) -> Network:
    wire = document.pop("wire")
    if wire is not None:
        aux = tuple((name, address) for name, address in wire.pop("aux_addresses"))
        wire = Wire(aux_addresses=aux, **wire)
    return Network(wire=wire, **document)


class Networks:
    def __init__(self, database: Database, bus: Bus, site: Site, *, icc: bool = True) -> None:
        """`icc`: of the default network, from its next beginning on."""
        self._database, self._bus, self._site, self._icc = database, bus, site, icc

    # --- looking ----------------------------------------------------------------------------------

    def all(self) -> list[Network]:
        self.ensure_predefined()
        return [network_from(row) for row in self._database.rows("networks")]

    def known(self) -> list[Network]:
        """As `all`, without choosing a subnet for what nobody has asked for yet."""
        return [network_from(row) for row in self._database.rows("networks")]

    def find(self, text: str) -> Network:
        """By id, name or the beginning of an id. Raises PyruncError NOT_FOUND."""
        name = "bridge" if text == "default" else text
        if name in PREDEFINED:
            self.ensure_predefined()
        row = self._database.row("networks", name=name) or self._database.row("networks", id=name)
        if row is None and name:
            ids = self._database.keys_beginning("networks", "id", name)
            if len(ids) > 1:
                raise PyruncError(
                    INVALID, f"network {name} is ambiguous ({len(ids)} matches found based on ID)"
                )
            row = self._database.row("networks", id=ids[0]) if ids else None
        if row is None:
            raise PyruncError(NOT_FOUND, f"network {text} not found")
        return network_from(row)

    def ensure_predefined(self) -> None:
        """bridge, host and none: recorded when somebody first asks, for a subnet has to be chosen."""
        for name, driver in _DRIVERS.items():
            if self._database.row("networks", name=name) is None:
                wire = self._default_wire if driver == BRIDGE else None
                try:
                    self._record(name, driver, wire)
                except PyruncError as error:
                    if error.kind != CONFLICT:  # another process was quicker
                        raise

    def _default_wire(self, id: str) -> Wire:
        subnet = ipam.choose_subnet((*self._subnets(), *wiring.host_subnets()))
        bridge = DEFAULT_BRIDGE if self._site.table == "pyrunc" else bridge_name(id)
        return Wire(
            id=id,
            name="bridge",
            subnet=subnet,
            gateway=ipam.choose_gateway(subnet),
            bridge=bridge,
            is_default=True,
            icc=self._icc,
        )

    def make_ready(self, network: Network) -> Network:
        """Before its bridge is made. The default network's subnet was chosen when somebody first asked for
        it: if the host has come to have routes to it since, it gets another, unless containers are on it."""
        wire = network.wire
        if wire is None or not wire.is_default or wiring.is_made(wire):
            return network
        network = self.as_set(network)
        assert network.wire is not None
        wire = network.wire
        routed = wiring.host_subnets()
        if ipam.is_free(wire.subnet, routed):
            return network
        with self._database.transaction():
            if self._database.rows("endpoints", network=network.id):
                return network
            others = [subnet for subnet in self._subnets() if subnet != wire.subnet]
            subnet = ipam.choose_subnet((*others, *routed))
            changed = replaced(wire, subnet=subnet, gateway=ipam.choose_gateway(subnet))
            network = replaced(network, wire=changed)
            self._database.update("networks", to_document(network), id=network.id)
        return network

    def as_set(self, network: Network) -> Network:
        """The default network as the settings have it now, recorded; the caller makes it so, or finds nothing
        made. Any other as it is."""
        wire = network.wire
        if wire is None or not wire.is_default or wire.icc == self._icc:
            return network
        network = replaced(network, wire=replaced(wire, icc=self._icc))
        self._database.update("networks", to_document(network), id=network.id)
        return network

    def _subnets(self) -> list[str]:
        found = [network_from(row).wire for row in self._database.rows("networks")]
        return [wire.subnet for wire in found if wire is not None]

    # --- making -----------------------------------------------------------------------------------

    def create(self, wanted: dict[str, Any]) -> Network:
        """`wanted`: the body of the API's call. Raises PyruncError INVALID, CONFLICT, UNSUPPORTED."""
        name = wanted.get("Name") or ""
        if not _NAME.fullmatch(name):
            raise PyruncError(INVALID, f"invalid network name: {name!r}")
        if name in PREDEFINED:
            raise PyruncError(DENIED, f"operation is not permitted on predefined {name} network")
        driver = wanted.get("Driver") or "bridge"
        if driver != "bridge":
            if driver in ("host", "null"):
                raise PyruncError(DENIED, f'only one instance of "{driver}" network is allowed')
            raise PyruncError(
                UNSUPPORTED, f"could not find plugin {driver} in v1 plugin registry: plugin not found"
            )
        for key in ("EnableIPv6", "Ingress", "ConfigOnly"):
            if wanted.get(key):
                raise PyruncError(UNSUPPORTED, f"networks with {key} are not supported")
        if (wanted.get("ConfigFrom") or {}).get("Network"):
            raise PyruncError(UNSUPPORTED, "networks with ConfigFrom are not supported")
        self.ensure_predefined()
        made = self._record(
            name,
            BRIDGE,
            lambda id: self._make_wire(id, name, wanted),
            labels=wanted.get("Labels") or {},
            options=wanted.get("Options") or {},
            attachable=bool(wanted.get("Attachable")),
        )
        assert made.wire is not None
        try:
            wiring.create_network(self._site, made.wire)
        except BaseException:
            self._database.delete("networks", id=made.id)
            raise
        self._publish(made, "create")
        return made

    def _record(
        self,
        name: str,
        driver: str,
        make_wire: Callable[[str], Wire] | None,
        *,
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        attachable: bool = False,
    ) -> Network:
        """The subnet is chosen and taken in one transaction. Raises PyruncError CONFLICT."""
        id = secrets.token_hex(32)
        with self._database.transaction():
            if self._database.row("networks", name=name) is not None:
                raise PyruncError(CONFLICT, f"network with name {name} already exists")
            made = Network(
                id=id,
                name=name,
                driver=driver,
                created_ns=time.time_ns(),
                wire=make_wire(id) if make_wire is not None else None,
                labels=labels or {},
                options=options or {},
                attachable=attachable,
            )
            self._database.insert("networks", to_document(made), id=id, name=name)
        return made

    def _make_wire(self, id: str, name: str, wanted: dict[str, Any]) -> Wire:
        settings = wanted.get("IPAM") or {}
        if settings.get("Driver") not in (None, "", "default"):
            raise PyruncError(UNSUPPORTED, f"the address manager {settings['Driver']} is not supported")
        pools = settings.get("Config") or [{}]
        if len(pools) > 1:
            raise PyruncError(UNSUPPORTED, "networks with several subnets are not supported")
        pool = pools[0]
        subnet = pool.get("Subnet") or ""
        if subnet:
            subnet = str(ipam.parse_subnet(subnet))
            ipam.require_subnet_free(subnet, self._subnets())
        else:
            subnet = ipam.choose_subnet((*self._subnets(), *wiring.host_subnets()))
        ip_range = pool.get("IPRange") or ""
        if ip_range:
            ipam.require_range(ip_range, subnet)
        aux = pool.get("AuxiliaryAddresses") or {}
        fields: dict[str, Any] = {
            "bridge": bridge_name(id),
            "internal": bool(wanted.get("Internal")),
            **parse_options(wanted.get("Options") or {}),
        }
        return Wire(
            id=id,
            name=name,
            subnet=subnet,
            gateway=ipam.choose_gateway(subnet, pool.get("Gateway") or "", ip_range, aux.values()),
            ip_range=ip_range,
            aux_addresses=tuple(sorted(aux.items())),
            **fields,
        )

    # --- taking away ------------------------------------------------------------------------------

    def remove(self, text: str) -> None:
        """Raises PyruncError NOT_FOUND; DENIED for a predefined one, or one with endpoints."""
        network = self.find(text)
        if network.is_predefined:
            raise PyruncError(DENIED, f"{network.name} is a pre-defined network and cannot be removed")
        with self._database.transaction():
            if self._database.rows("endpoints", network=network.id):
                raise PyruncError(
                    DENIED, f"error while removing network: network {network.name} has active endpoints"
                )
            self._database.delete("networks", id=network.id)
        assert network.wire is not None
        wiring.remove_network(self._site, network.wire)
        self._publish(network, "destroy")

    def prune(self, wanted: Callable[[Network], bool], in_use: Callable[[Network], bool]) -> list[str]:
        """Names of those that nobody needs and `wanted` chooses."""
        removed = []
        for network in self.all():
            if network.is_predefined or in_use(network) or not wanted(network):
                continue
            try:
                self.remove(network.id)
            except PyruncError as error:
                if error.kind not in (DENIED, NOT_FOUND):  # somebody was quicker
                    raise
                continue
            removed.append(network.name)
        self._bus.publish("network", "prune", "", reclaimed="0")
        return removed

    def _publish(self, network: Network, action: str) -> None:
        self._bus.publish("network", action, network.id, name=network.name, type=network.driver)
