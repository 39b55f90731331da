"""Networks of a container that is there already: connected and disconnected, while it runs or not, and told
of its new name."""

from __future__ import annotations

from pyrunc.engine.hostconfig import require_endpoints
from pyrunc.errors import DENIED, INVALID, NOT_FOUND, PyruncError
from pyrunc.record import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.bundle import Bundles
    from pyrunc.engine.containers import Containers
    from pyrunc.engine.endpoints import Endpoints
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.locks import Locks
    from pyrunc.engine.model import Container
    from pyrunc.engine.networks import Networks


class Connections:
    def __init__(
        self,
        layout: Layout,
        locks: Locks,
        containers: Containers,
        networks: Networks,
        endpoints: Endpoints,
        bundles: Bundles,
    ) -> None:
        self._layout, self._locks, self._containers = layout, locks, containers
        self._networks, self._endpoints, self._bundles = networks, endpoints, bundles

    def connect(self, network: str, text: str, wish: dict[str, Any]) -> None:
        """`wish`: endpoint settings. What was connected stays so over restarts. Raises PyruncError."""
        require_endpoints({network: wish})
        id = self._containers.find(text).id
        with self._locks.holding(id):
            container = self._containers.find(id)
            found = self._networks.find(network)
            is_wished = found.name in (container.host["NetworkMode"], *container.networks)
            if self._is_on(container, found.id) or (is_wished and not self._endpoints.namespace(id)):
                raise PyruncError(
                    DENIED, f"endpoint with name {container.name} already exists in network {found.name}"
                )
            changed = replaced(container, networks={**container.networks, found.name: wish})
            self._endpoints.connect(changed, found, wish)
            self._endpoints.hand_over_ports(id, self._layout.container(id))
            self._containers.update(changed)
            self._rewrite_hosts(changed)

    def rename(self, text: str, name: str) -> None:
        """Raises PyruncError NOT_FOUND, INVALID, CONFLICT."""
        container = self._containers.find(text)
        with self._locks.holding(container.id):
            container = self._containers.find(container.id)
            renamed = self._containers.rename(container.id, name)
            self._endpoints.rename(renamed, container.name)

    def _is_on(self, container: Container, id: str) -> bool:
        return any(network.id == id for network, _ in self._endpoints.of_container(container.id))

    def disconnect(self, network: str, text: str, *, force: bool = False) -> None:
        """`force`: also of a container or network that isn't there. Raises PyruncError."""
        try:
            id = self._containers.find(text).id
            found = self._networks.find(network)
        except PyruncError as error:
            if force and error.kind == NOT_FOUND:
                return
            raise
        with self._locks.holding(id):
            container = self._containers.find(id)
            mode = container.host["NetworkMode"]
            if mode == "host":
                raise PyruncError(DENIED, "container cannot be disconnected from host network")
            was_on = self._endpoints.disconnect(container, found)
            if not was_on and found.name not in (mode, *container.networks):
                raise PyruncError(
                    INVALID, f"container {container.id} is not connected to network {found.name}"
                )
            changed = self._without(container, found.name)
            self._containers.update(changed)
            self._rewrite_hosts(changed)

    def _without(self, container: Container, name: str) -> Container:
        """If it was the one of --network, another takes its place, or none."""
        networks = {other: wish for other, wish in container.networks.items() if other != name}
        host = dict(container.host)
        if host["NetworkMode"] == name:
            host["NetworkMode"] = next(iter(networks), "none")
        return replaced(container, networks=networks, host=host)

    def _rewrite_hosts(self, container: Container) -> None:
        if self._endpoints.namespace(container.id):
            self._bundles.rewrite_hosts(container, self._endpoints.place(container))
