"""Beside a firewall that drops what it does not know: dockerd's, ufw's, an administrator's."""

from __future__ import annotations

import shutil

import pytest
from support.machine import HOST, WORLD, Machine, port
from support.netns import SECONDS, converse

from pyrunc.network import wiring

KINDS = [
    pytest.param(
        name, marks=pytest.mark.skipif(shutil.which(name) is None, reason="needs the package iptables")
    )
    for name in ("iptables-nft", "iptables-legacy")
]


@pytest.fixture(params=KINDS)
def iptables(request: pytest.FixtureRequest, machine: Machine) -> str:
    machine.host.run(request.param, "-P", "FORWARD", "DROP")
    return request.param


def test_our_traffic_passes_and_only_ours(machine: Machine, iptables: str):
    web = machine.container("web", machine.network(), ports=(port(8080, 80),))
    other = machine.container("other", machine.network("more", "172.18.0.0/16"))

    with web.listen("0.0.0.0", 80) as server, machine.world.listen("0.0.0.0", 80) as outside:
        assert converse(machine.world, HOST, 8080, server)
        assert converse(other, HOST, 8080, server)
        assert converse(web, WORLD, 80, outside)
        assert not other.reaches(machine.address("web"), 80)


def test_the_rules_are_made_once_and_go_with_their_network(machine: Machine, iptables: str):
    before = machine.host.run(iptables, "-S", "FORWARD")
    network = machine.network()
    machine.container("one", network)
    machine.container("two", network)
    with machine.host.entered():
        wiring.reconcile(machine.site, machine.networks, tuple(machine.states.values()))
    assert machine.host.run(iptables, "-S", "FORWARD").count("ACCEPT") == 2

    machine.networks.clear()
    machine.states.clear()
    with machine.host.entered():
        wiring.reconcile(machine.site, (), ())

    assert machine.host.run(iptables, "-S", "FORWARD") == before


def test_one_that_comes_later_is_met_at_the_next_container(machine: Machine):
    network = machine.network()
    web = machine.container("web", network, ports=(port(8080, 80),))
    machine.host.run("iptables", "-P", "FORWARD", "DROP")
    with web.listen("0.0.0.0", 80):
        assert not machine.world.reaches(HOST, 8080)

        machine.container("next", network)

        assert machine.world.reaches(HOST, 8080, SECONDS)
