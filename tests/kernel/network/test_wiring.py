"""The whole of it: many at once, nothing half-made, and the program nft where the library is not."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.machine import HOST, Machine, port
from support.netns import converse

from pyrunc.errors import PyruncError
from pyrunc.network import ipam, nft, ports, sandbox, wiring
from pyrunc.network.model import Attachment, Endpoint, Network, Sandbox
from pyrunc.record import replaced


def test_many_threads_at_once(machine: Machine):
    """As the daemon has them: each its own container, all on one network, each with a port of its own."""
    network = machine.network("mine", "172.18.0.0/16")
    states = {}
    for number in range(24):
        name, address = f"c{number}", f"172.18.1.{number}"
        endpoint = Endpoint(
            id=machine.identity(), network_id=network.id, container_id=name, address=address,
            mac=ipam.mac_of(address), interface="eth0", names=(name,),
        )  # fmt: skip
        states[name] = Sandbox(
            container_id=name, attachments=(Attachment(network=network, endpoint=endpoint),)
        )

    def start(name: str) -> ports.Held:
        state = states[name]
        wiring.create_sandbox(machine.site, name)
        (attachment,) = state.attachments
        wiring.connect(machine.site, state, attachment)
        bound, held = wiring.choose_ports(
            machine.site, network, [ports.parse_request("80/tcp", "", "7000-7023")]
        )
        attachment = replaced(attachment, endpoint=replaced(attachment.endpoint, ports=bound))
        states[name] = replaced(state, attachments=(attachment,))
        wiring.publish(machine.site, states[name])
        return held

    # a thread is born in the namespace of whoever starts it
    with machine.host.entered(), ThreadPoolExecutor(8) as pool:
        held = list(pool.map(start, states))
    machine.states.update(states)

    with machine.host.entered():
        found = wiring.published(machine.site)
        assert sorted(item.first_port for item in found) == list(range(7000, 7024))
        assert {item.address for item in found} == {f"172.18.1.{number}" for number in range(24)}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(machine.remove_container, list(states)))
        for item in held:
            item.close()


def test_a_failure_leaves_nothing(machine: Machine):
    """The device in the container is the last thing that can go wrong: its name is taken."""
    network = machine.network("mine", "172.18.0.0/16")
    inside = machine.container("one")
    inside.run("ip", "link", "add", "eth0", "type", "bridge")
    with machine.host.entered():
        before = wiring.residue(machine.site)

    with pytest.raises(PyruncError):
        machine.connect("one", network)

    with machine.host.entered():
        assert [line for line in wiring.residue(machine.site) if not line.startswith("names")] == list(before)


def test_a_network_that_cannot_be_made_leaves_nothing(machine: Machine):
    good = Network(id="b" * 64, name="x", subnet="10.9.0.0/24", gateway="10.9.0.1", bridge="pyrbad")
    with machine.host.entered():
        with pytest.raises(PyruncError):
            wiring.create_network(machine.site, replaced(good, host_address="nonsense"))
        assert wiring.residue(machine.site) == ()


@pytest.mark.parametrize("lost", ["nft flush ruleset", "nft delete table ip pyrunc", "ip link del BRIDGE"])
def test_a_network_of_which_a_part_was_lost_is_made_whole(machine: Machine, lost: str):
    network = machine.network()
    rules = machine.host.run("nft", "list", "ruleset")
    machine.host.run(*lost.replace("BRIDGE", network.bridge).split())

    with machine.host.entered():
        wiring.create_network(machine.site, network)

    assert machine.host.run("nft", "list", "ruleset") == rules
    assert network.gateway in machine.host.run("ip", "addr", "show", network.bridge)


def test_a_sandbox_may_be_made_and_removed_again_and_again(machine: Machine):
    with machine.host.entered():
        path = wiring.create_sandbox(machine.site, "one")
        assert wiring.create_sandbox(machine.site, "one") == path
        assert sandbox.is_there(path)
        for _ in range(2):
            wiring.remove_sandbox(machine.site, "one")
            assert not sandbox.is_there(path)
        open(path, "w").close()  # a crash between the file and the mount
        wiring.create_sandbox(machine.site, "one")
        assert sandbox.is_there(path)
        wiring.remove_sandbox(machine.site, "one")


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft, of the package nftables")
def test_without_the_library_the_program_does_the_same(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nft, "_library", None)
    web = machine.container("web", machine.network(), ports=(port(8080, 80), port(90, 90), port(91, 91)))

    with web.listen("0.0.0.0", 80) as server:
        assert converse(machine.world, HOST, 8080, server)
    with pytest.raises(PyruncError, match="port is already allocated"):
        machine.container("other", machine.networks[0], ports=(port(8080, 80),))


def test_two_engines_in_one_namespace_leave_each_other_alone(machine: Machine, tmp_path):
    network = machine.network()
    machine.container("web", network, ports=(port(8080, 80),))
    other = replaced(machine.site, run_root=str(tmp_path / "other"), table="other")
    more = Network(id="c" * 64, name="x", subnet="10.9.0.0/24", gateway="10.9.0.1", bridge="br-other")
    with machine.host.entered():
        before = wiring.residue(machine.site)
        wiring.create_network(other, more)

        wiring.reconcile(other, (), ())

        assert (wiring.residue(other), wiring.residue(machine.site)) == ((), before)
