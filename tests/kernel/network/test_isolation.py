"""Who does not reach whom: networks among each other, internal ones, and containers with icc=false."""

from __future__ import annotations

import pytest
from support.machine import HOST, WORLD, Machine, port
from support.netns import SECONDS, converse

MORE = "172.18.0.0/16"


def test_networks_are_apart(machine: Machine):
    one = machine.container("one", machine.network())
    two = machine.container("two", machine.network("more", MORE))

    with two.listen("0.0.0.0", 80), one.listen("0.0.0.0", 80):
        assert not one.reaches(machine.address("two"), 80)
        assert not two.reaches(machine.address("one"), 80)


def test_an_internal_network_has_no_way_out_or_in(machine: Machine):
    inner = machine.network("inner", MORE, internal=True)
    one, two = machine.container("one", inner, ports=(port(8080, 80),)), machine.container("two", inner)
    outer = machine.container("outer", machine.network(), ports=(port(9090, 80),))
    machine.world.run("ip", "route", "add", MORE, "via", HOST)
    assert one.run("ip", "route", "show", "default") == ""
    one.run("ip", "route", "add", "default", "via", inner.gateway)  # as a container with NET_ADMIN can

    with (
        one.listen("0.0.0.0", 80) as server,
        outer.listen("0.0.0.0", 80),
        machine.world.listen("0.0.0.0", 80),
    ):
        assert converse(two, machine.address("one"), 80, server)
        assert machine.host.reaches(machine.address("one"), 80, SECONDS)
        assert not one.reaches(WORLD, 80)
        assert not one.reaches(HOST, 9090), "not by a published port either"
        assert not machine.world.reaches(machine.address("one"), 80)
        assert not machine.world.reaches(HOST, 8080), "an internal network publishes nothing"


@pytest.mark.parametrize("by_the_bridge", [True, False], ids=["by the bridge", "by the gateway"])
@pytest.mark.parametrize(
    "bridged", [True, False], ids=["filtered by the bridge", "not filtered by the bridge"]
)
def test_without_icc_neighbours_are_apart(machine: Machine, bridged: bool, by_the_bridge: bool):
    machine.filter_bridges(bridged)
    network = machine.network(icc=False)
    one, two = machine.container("one", network, ports=(port(8080, 80),)), machine.container("two", network)
    if not by_the_bridge:
        two.run("ip", "route", "add", f"{machine.address('one')}/32", "via", network.gateway)

    with one.listen("0.0.0.0", 80) as server, machine.world.listen("0.0.0.0", 80) as outside:
        assert not two.reaches(machine.address("one"), 80)
        assert converse(two, WORLD, 80, outside)
        assert converse(machine.world, HOST, 8080, server)
        if not bridged:
            assert converse(two, HOST, 8080, server), "a published port is for neighbours too"


def test_an_unprotected_network_is_reached_directly_but_not_by_other_networks(machine: Machine):
    one = machine.container("one", machine.network(gateway_mode="nat-unprotected"))
    two = machine.container("two", machine.network("more", MORE))
    machine.world.run("ip", "route", "add", "172.17.0.0/16", "via", HOST)

    with one.listen("0.0.0.0", 80) as server:
        assert converse(machine.world, machine.address("one"), 80, server)
        assert not two.reaches(machine.address("one"), 80)


def test_the_administrators_chain_comes_first_and_stays(machine: Machine):
    network = machine.network()
    web = machine.container("web", network, ports=(port(8080, 80),))
    machine.host.run("nft", "add", "rule", "ip", "pyrunc", "user", "ip", "saddr", WORLD, "drop")

    machine.network("more", MORE)

    with web.listen("0.0.0.0", 80):
        assert not machine.world.reaches(HOST, 8080)
        assert machine.host.reaches("127.0.0.1", 8080, SECONDS)
