"""What the engine calls. Each function may be repeated, and completes what a crash has left half done.

    create_network(site, network)              a bridge, and its part in the packet filter
    create_sandbox(site, container_id)         -> the path for config.json
    connect(site, sandbox, attachment)         before the container's start, or while it runs
    ports, held = choose_ports(site, network, requests); then store them in the endpoint
    publish(site, sandbox)                     in the end, and again after each connect and disconnect
    …
    unpublish(site, sandbox), disconnect(site, sandbox, attachment)
    remove_sandbox(site, container_id)
    remove_network(site, network)

A Sandbox that is handed over has the attachments as they shall be: with the new one when connecting, without
the old one when disconnecting. `reconcile` takes everything that is recorded and makes it so, at the engine's
start: what was lost is made again, and what is ours but not recorded goes.

All of it acts on the network namespace that the calling thread is in. Threads and processes may call at the
same time, for containers that are not the same; but nothing is published between the reading of the records
that `reconcile` gets and its end.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager

from pyrunc.errors import CONFLICT, NOT_FOUND, WRONG_STATE, PyruncError, doing
from pyrunc.network import conntrack, firewall, links, nft, plan, ports, resolver, rules, sandbox, sysctls
from pyrunc.network.model import Attachment, Network, Sandbox, Site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyrunc.network.model import PortBinding, PortRequest
    from pyrunc.network.rules import Published


def host_subnets() -> tuple[str, ...]:
    """For `ipam.choose_subnet`: what the host has routes to."""
    return links.routed_subnets()


def is_made(network: Network) -> bool:
    """Is its bridge there?"""
    return links.is_there(network.bridge)


@contextmanager
def _alone(site: Site) -> Iterator[None]:
    """No other process makes or removes a network meanwhile: the last one takes the table with it."""
    with doing("lock the networks", site.run_root):
        os.makedirs(site.run_root, exist_ok=True)
        lock = os.open(f"{site.run_root}/network.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def create_network(site: Site, network: Network) -> None:
    """Quick if it is there already, so that each start of a container may begin with it. Raises PyruncError:
    CONFLICT if the device's name is taken by one that is not ours. Then nothing is left, unless the network
    was there before."""
    if _is_made(site, network):
        return
    with _alone(site):
        was_there = links.is_there(network.bridge)
        try:
            _create_bridge(site, network)
            what = f"create network {network.name}"
            nft.run(rules.base(site.table), what)
            nft.run(rules.add_network(site.table, network), what)
            firewall.let_through(site, [network.bridge])
        except BaseException:
            if not was_there:
                _remove_network(site, network)
            raise


def _is_made(site: Site, network: Network) -> bool:
    """Its elements are what is made last, in one transaction."""
    if not links.is_there(network.bridge):
        return False
    try:
        nft.run(rules.find_network(site.table, network), "find a network")
    except PyruncError as error:
        if error.kind != NOT_FOUND:
            raise
        return False
    return True


def _create_bridge(site: Site, network: Network) -> None:
    links.apply(plan.plan_bridge(site, network))
    sysctls.apply(plan.plan_bridge_sysctls(network))


def remove_network(site: Site, network: Network) -> None:
    """With the last one our table goes. The network has no endpoint any more: the caller sees to that."""
    with _alone(site):
        _remove_network(site, network)


def _remove_network(site: Site, network: Network) -> None:
    links.remove((network.bridge,), site.link_group)
    resolver.stop(site, network.id)
    firewall.stop_letting_through(site, [network.bridge])
    if not any(link.kind == "bridge" for link in links.links_in_group(site.link_group).values()):
        nft.run(rules.without_table(site.table), f"remove network {network.name}")
        return
    what = f"remove network {network.name}"
    nft.run(rules.base(site.table), what)
    nft.run(rules.remove_network(site.table, network), what)


def create_sandbox(site: Site, container_id: str) -> str:
    """A network namespace with its loopback up, and the path that holds it."""
    path = sandbox.path_of(site, container_id)
    sandbox.create(path)
    with sandbox.open_namespace(path) as namespace, sandbox.inside(namespace):
        links.apply((plan.SetUp(name="lo"),))
    return path


def remove_sandbox(site: Site, container_id: str) -> None:
    sandbox.remove(sandbox.path_of(site, container_id))


def connect(site: Site, state: Sandbox, attachment: Attachment) -> None:
    """A veth pair from the network's bridge into the sandbox, with address and route; and names: the
    container's own for its neighbours, and theirs for it at model.DNS_ADDRESS. Raises PyruncError, and then
    nothing is left."""
    with sandbox.open_namespace(sandbox.path_of(site, state.container_id)) as namespace:
        links.create_veth(plan.plan_veth(site, attachment), namespace)
        try:
            sysctls.apply(plan.plan_host_end_sysctls(attachment))
            with sandbox.inside(namespace):
                sysctls.apply(plan.plan_inside_sysctls(attachment))
                links.apply((*plan.plan_inside(attachment), plan.plan_route(state.attachments)))
            firewall.let_through(site, [attachment.network.bridge])
            resolver.add_names(site, attachment.network, attachment.endpoint)
            resolver.serve(site, state)
        except BaseException:
            links.remove((attachment.endpoint.host_interface,), site.link_group)
            resolver.forget(site, attachment.network, state.container_id)
            resolver.remove_names(site, attachment.network, attachment.endpoint)
            raise


def disconnect(site: Site, state: Sandbox, attachment: Attachment) -> None:
    """The pair and the names go, and the container's way out is what it has left."""
    resolver.remove_names(site, attachment.network, attachment.endpoint)
    links.remove((attachment.endpoint.host_interface,), site.link_group)
    resolver.forget(site, attachment.network, state.container_id)
    path = sandbox.path_of(site, state.container_id)
    if state.attachments and sandbox.is_there(path):
        with sandbox.open_namespace(path) as namespace, sandbox.inside(namespace):
            links.apply((plan.plan_route(state.attachments),))
        resolver.serve(site, state)


def rename(site: Site, attachment: Attachment) -> None:
    """The container's neighbours find it by the names that its endpoint has now, and no longer by others."""
    resolver.add_names(site, attachment.network, attachment.endpoint)


def choose_ports(
    site: Site, network: Network, requests: Sequence[PortRequest]
) -> tuple[tuple[PortBinding, ...], ports.Held]:
    """Free ports of the host's for a container whose way out is `network` (plan.gateway_of), and what holds
    them: see `ports`. Raises PyruncError with docker's sentences."""
    if not requests:
        return (), ports.Held()
    return ports.choose(requests, published(site), network.host_binding)


def published(site: Site) -> list[Published]:
    """What is published by now, by whatever process."""
    try:
        return rules.parse_ports(nft.run(rules.list_ports(site.table), "list published ports"))
    except PyruncError as error:
        if error.kind != NOT_FOUND:
            raise
        return []


def publish(site: Site, state: Sandbox) -> None:
    """Lead the ports of all endpoints of the container to the address that its way out gives it, and no
    longer to another. A container without a way out gets none of them. Raises PyruncError: CONFLICT, with
    docker's sentence, if one is another container's."""
    way_out = plan.gateway_of(state.attachments)
    wanted = [port for item in state.attachments for port in item.endpoint.ports]
    if not wanted:
        return
    unpublish(site, state)
    if way_out is None:
        return
    links.set_hairpin(way_out.endpoint.host_interface)
    try:
        nft.run(rules.publish(site.table, way_out.endpoint.address, wanted), "publish ports")
    except PyruncError as error:
        if error.kind == NOT_FOUND:
            raise PyruncError(
                WRONG_STATE, error.what, error.where, "the table has been removed", "restart the daemon"
            ) from error
        if error.kind != CONFLICT:
            raise
        raise _conflict(site, wanted) from error
    conntrack.forget_before_publishing(way_out.endpoint.address, wanted)


def _conflict(site: Site, wanted: Sequence[PortBinding]) -> PyruncError:
    """Which port it was that the kernel refused."""
    there = {
        (item.protocol, number)
        for item in published(site)
        for number in range(item.first_port, item.last_port + 1)
    }
    port = next((port for port in wanted if (port.protocol, port.host_port) in there), wanted[0])
    return ports.already_allocated(port.host_address, port.host_port)


def unpublish(site: Site, state: Sandbox) -> None:
    """Nothing of the host's leads to an address of this container any more."""
    addresses = {item.endpoint.address for item in state.attachments}
    there = [item for item in published(site) if item.address in addresses]
    if there:
        nft.run(rules.unpublish(site.table, [(item.map, item.key) for item in there]), "unpublish ports")
    if any(item.protocol == "udp" for item in there):
        conntrack.forget_after_unpublishing(addresses)


def reconcile(site: Site, networks: Iterable[Network], sandboxes: Iterable[Sandbox]) -> None:
    """Make what is recorded so, after a crash or a reboot: bridges, filter, sandboxes with their endpoints,
    published ports. What is in order is left in peace, what is ours but not recorded goes. `sandboxes` are
    those of containers that run or are about to. Raises PyruncError."""
    with _alone(site):
        _reconcile(site, list(networks), list(sandboxes))


def _reconcile(site: Site, networks: Sequence[Network], sandboxes: Sequence[Sandbox]) -> None:
    there = links.links_in_group(site.link_group)
    wanted = {item.bridge for item in networks}
    wanted.update(item.endpoint.host_interface for state in sandboxes for item in state.attachments)
    links.remove([name for name in there if name not in wanted], site.link_group)
    for network in networks:
        _create_bridge(site, network)
    if networks:
        nft.run(rules.base(site.table), "rebuild the packet filter")
    nft.run(_everything(site, networks, sandboxes), "rebuild the packet filter")
    firewall.let_through_only(site, [network.bridge for network in networks])
    _reconcile_names(site, networks, sandboxes)
    for state in sandboxes:
        _reconcile_sandbox(site, state, there)
    _remove_sandboxes(site, {state.container_id for state in sandboxes})


def _everything(site: Site, networks: Sequence[Network], sandboxes: Sequence[Sandbox]) -> str:
    if not networks:
        return rules.without_table(site.table)
    text = [rules.emptied(site.table)]
    text += [rules.add_network(site.table, network) for network in networks]
    for state in sandboxes:
        way_out = plan.gateway_of(state.attachments)
        if way_out is not None:
            wanted = [port for item in state.attachments for port in item.endpoint.ports]
            text.append(rules.publish(site.table, way_out.endpoint.address, wanted))
    return "".join(text)


def _reconcile_names(site: Site, networks: Sequence[Network], sandboxes: Sequence[Sandbox]) -> None:
    for network in networks:
        endpoints = [item.endpoint for state in sandboxes for item in state.attachments]
        resolver.replace_names(site, network, [item for item in endpoints if item.network_id == network.id])
    for unknown in resolver.known_networks(site) - {network.id[: resolver.SHORT] for network in networks}:
        resolver.stop(site, unknown)


def _reconcile_sandbox(site: Site, state: Sandbox, there: dict[str, links.Link]) -> None:
    """An endpoint is in order if its end is a port of its bridge: the other one is in the sandbox then, where
    nobody but us has put it, unless the sandbox itself was lost."""
    was_there = sandbox.is_there(sandbox.path_of(site, state.container_id))
    create_sandbox(site, state.container_id)
    for attachment in state.attachments:
        end = there.get(attachment.endpoint.host_interface)
        if not was_there or end is None or end.master != attachment.network.bridge:
            connect(site, state, attachment)
        else:
            links.set_isolated(attachment.endpoint.host_interface, not attachment.network.icc)
    resolver.serve(site, state)
    way_out = plan.gateway_of(state.attachments)
    if way_out is not None and any(item.endpoint.ports for item in state.attachments):
        links.set_hairpin(way_out.endpoint.host_interface)


def _remove_sandboxes(site: Site, wanted: set[str]) -> None:
    try:
        names = os.listdir(sandbox.directory(site))
    except FileNotFoundError:
        return
    for name in names:
        if name not in wanted:
            remove_sandbox(site, name)


def residue(site: Site) -> tuple[str, ...]:
    """Everything of ours that is there: for tests, and for whoever wants to be sure."""
    found = [f"{link.kind} {link.name}" for link in links.links_in_group(site.link_group).values()]
    try:
        nft.run(f"list table ip {site.table}\n", "list the packet filter")
        found.append(f"nftables table ip {site.table}")
    except PyruncError as error:
        if error.kind != NOT_FOUND:
            raise
    directory = sandbox.directory(site)
    if os.path.isdir(directory):
        found += [f"sandbox {name}" for name in os.listdir(directory)]
    found += [f"names of network {name}" for name in resolver.known_networks(site)]
    return tuple(sorted(found))
