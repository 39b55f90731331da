"""What is recorded is made so, whatever there was before; live changes of a running container."""

from __future__ import annotations

import json
import os
from pathlib import Path

from support.machine import HOST, Machine, port
from support.netns import Namespace, converse

from pyrunc.network import resolver, sandbox, wiring

MORE = "172.18.0.0/16"


def reconcile(machine: Machine) -> None:
    with machine.host.entered():
        wiring.reconcile(machine.site, machine.networks, tuple(machine.states.values()))


def test_everything_is_made_again_after_a_reboot(machine: Machine):
    """Nothing but the records is left of it."""
    network = machine.network()
    machine.container("web", network, ports=(port(8080, 80), port(90, 90), port(91, 91)))
    with machine.host.entered():
        before = (wiring.residue(machine.site), machine.host.run("nft", "list", "ruleset"))
    machine.host.run("nft", "flush", "ruleset")
    machine.host.run("ip", "link", "del", network.bridge)
    with machine.host.entered():
        wiring.remove_sandbox(machine.site, "web")

    reconcile(machine)

    with machine.host.entered():
        assert (wiring.residue(machine.site), machine.host.run("nft", "list", "ruleset")) == before
    web = Namespace(sandbox.path_of(machine.site, "web"))
    with web.listen("0.0.0.0", 80) as server:
        assert converse(machine.world, HOST, 8080, server)
        assert converse(machine.host, "127.0.0.1", 8080, server)
    web.close()


def test_what_is_not_recorded_goes_and_what_is_stays(machine: Machine):
    network, gone = machine.network(), machine.network("gone", MORE)
    web = machine.container("web", network, ports=(port(8080, 80),))
    machine.container("lost", gone, ports=(port(9090, 80),))
    machine.host.run("ip", "link", "add", "pyr-other", "type", "bridge")  # like one of ours, by its name
    machine.networks.remove(gone)
    del machine.states["lost"]

    with web.listen("0.0.0.0", 80) as server, machine.world.socket() as client:
        client.connect((HOST, 8080))
        accepted, _ = server.accept()
        reconcile(machine)
        client.sendall(b"still there")
        assert accepted.recv(16) == b"still there", "a connection is not to be disturbed"
        accepted.close()

    with machine.host.entered():
        assert [item.first_port for item in wiring.published(machine.site)] == [8080]
        assert not [line for line in wiring.residue(machine.site) if "lost" in line or gone.bridge in line]
    assert "pyr-other" in machine.host.run("ip", "link")


def test_files_that_a_killed_process_was_writing_go(machine: Machine):
    kept, gone = machine.network("kept"), machine.network("gone", MORE)
    for network, name in ((kept, "web"), (gone, "lost")):
        machine.container(name, network)
        for ending in ("json", "clients"):
            Path(resolver.directory(machine.site), f".{network.id[:12]}.{ending}.4711").touch()
    machine.networks.remove(gone)
    del machine.states["lost"]

    reconcile(machine)

    assert {name.partition(".")[0] for name in os.listdir(resolver.directory(machine.site))} == {kept.id[:12]}


def test_it_may_be_repeated(machine: Machine):
    machine.container("web", machine.network(), ports=(port(8080, 80),))
    before = machine.host.run("nft", "list", "ruleset"), machine.host.run("ip", "-4", "addr")

    reconcile(machine)
    reconcile(machine)

    assert (machine.host.run("nft", "list", "ruleset"), machine.host.run("ip", "-4", "addr")) == before


def default_route(inside: Namespace) -> list[str]:
    return [item["dev"] for item in json.loads(inside.run("ip", "-j", "route", "show", "default"))]


def test_connect_and_disconnect_while_it_runs(machine: Machine):
    """The way out is that of the highest priority, then of the first name; ports move along with it."""
    first, second = machine.network("aa"), machine.network("bb", MORE)
    third = machine.network("inner", "172.19.0.0/16", internal=True)
    web = machine.container("web", first, ports=(port(8080, 80),))
    with web.listen("0.0.0.0", 80) as server:
        machine.connect("web", third, gateway_priority=9)
        assert default_route(web) == ["eth0"]

        machine.connect("web", second, gateway_priority=1)
        assert default_route(web) == ["eth2"]
        assert converse(machine.world, HOST, 8080, server)

        machine.disconnect("web", second)
        assert default_route(web) == ["eth0"]
        assert converse(machine.world, HOST, 8080, server)

        machine.disconnect("web", first)
        assert default_route(web) == []
        machine.connect("web", first)
        assert default_route(web) == ["eth0"], "the first device that is free"


def test_a_crash_in_the_middle_is_made_good_by_trying_again(machine: Machine):
    """The pair is there, and nothing of what follows."""
    network = machine.network()
    web = machine.container("web", network)
    web.run("ip", "addr", "flush", "dev", "eth0")
    web.run("ip", "link", "set", "eth0", "down")
    state = machine.states["web"]

    with machine.host.entered():
        wiring.create_network(machine.site, network)
        wiring.create_sandbox(machine.site, "web")
        wiring.connect(machine.site, state, state.attachments[0])

    with machine.host.listen("0.0.0.0", 81) as server:
        assert converse(web, network.gateway, 81, server) == "172.17.0.2"


def test_a_bridge_that_is_not_ours_is_left_alone(machine: Machine):
    machine.host.run("ip", "link", "add", "br0", "type", "bridge")
    try:
        machine.network(bridge="br0")
    except wiring.PyruncError as error:
        assert "not ours" in str(error)
    else:
        raise AssertionError("it was taken")
    machine.close_networks()
    assert "br0" in machine.host.run("ip", "link")
