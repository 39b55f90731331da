"""A bridge, its endpoints, and what leaves it: asked of the kernel, and tried with packets."""

from __future__ import annotations

import json

from support.machine import HOST, WORLD, Machine
from support.netns import converse


def link(text: str) -> dict:
    (found,) = json.loads(text)
    return found


def test_two_containers_of_a_network_talk(machine: Machine):
    network = machine.network()
    one, two = machine.container("one", network), machine.container("two", network)

    with two.listen("0.0.0.0", 80) as server:
        seen = converse(one, machine.address("two"), 80, server)

    assert seen == machine.address("one") == "172.17.0.2"


def test_the_device_in_the_container(machine: Machine):
    network = machine.network(mtu=1400)
    inside = machine.container("one", network)

    device = link(inside.run("ip", "-j", "addr", "show", "eth0"))
    (address,) = [item for item in device["addr_info"] if item["family"] == "inet"]
    (route,) = json.loads(inside.run("ip", "-j", "route", "show", "default"))

    assert (device["mtu"], device["address"]) == (1400, "02:42:ac:11:00:02")
    assert (address["local"], address["prefixlen"], address["broadcast"]) == (
        "172.17.0.2",
        16,
        "172.17.255.255",
    )
    assert [item["family"] for item in device["addr_info"]] == ["inet"], "no IPv6 that nobody filters"
    assert (route["gateway"], route["dev"]) == ("172.17.0.1", "eth0")
    assert "UP" in link(inside.run("ip", "-j", "link", "show", "lo"))["flags"]


def test_what_leaves_bears_the_hosts_address(machine: Machine):
    one = machine.container("one", machine.network())

    with machine.world.listen("0.0.0.0", 80) as server:
        assert converse(one, WORLD, 80, server) == HOST


def test_without_masquerade_it_bears_its_own(machine: Machine):
    one = machine.container("one", machine.network(masquerade=False))
    machine.world.run("ip", "route", "add", "172.17.0.0/16", "via", HOST)

    with machine.world.listen("0.0.0.0", 80) as server:
        assert converse(one, WORLD, 80, server) == "172.17.0.2"


def test_it_leaves_with_the_address_that_was_asked_for(machine: Machine):
    machine.host.run("ip", "addr", "add", "203.0.113.77/24", "dev", "uplink")
    one = machine.container("one", machine.network(host_address="203.0.113.77"))

    with machine.world.listen("0.0.0.0", 80) as server:
        assert converse(one, WORLD, 80, server) == "203.0.113.77"


def test_host_and_container_talk(machine: Machine):
    network = machine.network()
    one = machine.container("one", network)

    with machine.host.listen("0.0.0.0", 81) as server:
        assert converse(one, network.gateway, 81, server) == "172.17.0.2"
    with one.listen("0.0.0.0", 80) as server:
        assert converse(machine.host, "172.17.0.2", 80, server) == network.gateway


def test_nothing_is_left(machine: Machine):
    network = machine.network()
    machine.container("one", network)
    machine.remove_container("one")
    machine.close_networks()

    assert machine.host.run("nft", "list", "ruleset") == ""
    assert [item["ifname"] for item in json.loads(machine.host.run("ip", "-j", "link"))] == ["lo", "uplink"]
