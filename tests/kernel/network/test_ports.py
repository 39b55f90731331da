"""Published ports, from wherever somebody can come; and how they are held."""

from __future__ import annotations

import socket

import pytest
from support.machine import HOST, Machine, port
from support.netns import SECONDS, converse, exchange

from pyrunc.errors import CONFLICT, PyruncError
from pyrunc.network import ports, wiring


def test_from_outside_the_container_sees_who_it_is(machine: Machine):
    web = machine.container("web", machine.network(), ports=(port(8080, 80),))

    with web.listen("0.0.0.0", 80) as server:
        assert converse(machine.world, HOST, 8080, server) == "203.0.113.2"


def test_from_the_host_by_its_address_and_by_loopback(machine: Machine):
    network = machine.network()
    web = machine.container("web", network, ports=(port(8080, 80),))

    with web.listen("0.0.0.0", 80) as server:
        assert converse(machine.host, HOST, 8080, server) == HOST
        assert converse(machine.host, "127.0.0.1", 8080, server) == network.gateway
        assert converse(machine.host, network.gateway, 8080, server) == network.gateway


@pytest.mark.parametrize(
    "bridged", [True, False], ids=["filtered by the bridge", "not filtered by the bridge"]
)
def test_from_a_neighbour_and_from_the_container_itself(machine: Machine, bridged: bool):
    machine.filter_bridges(bridged)
    network = machine.network()
    web, other = (
        machine.container("web", network, ports=(port(8080, 80),)),
        machine.container("other", network),
    )

    with web.listen("0.0.0.0", 80) as server:
        assert converse(other, HOST, 8080, server) == network.gateway
        assert converse(web, HOST, 8080, server) == network.gateway
        assert converse(web, network.gateway, 8080, server) == network.gateway


def test_from_a_container_of_another_network(machine: Machine):
    web = machine.container("web", machine.network(), ports=(port(8080, 80),))
    other = machine.container("other", machine.network("more", "172.18.0.0/16"))

    with web.listen("0.0.0.0", 80) as server:
        assert converse(other, HOST, 8080, server)


@pytest.mark.parametrize(
    "bridged", [True, False], ids=["filtered by the bridge", "not filtered by the bridge"]
)
def test_udp_everywhere(machine: Machine, bridged: bool):
    machine.filter_bridges(bridged)
    network = machine.network()
    web = machine.container("web", network, ports=(port(5353, 53, protocol="udp"),))
    other = machine.container("other", network)

    with web.listen("0.0.0.0", 53, socket.SOCK_DGRAM) as server:
        for client, address in (
            (machine.world, HOST), (machine.host, HOST), (machine.host, "127.0.0.1"),
            (other, HOST), (web, HOST),
        ):  # fmt: skip
            exchange(client, address, 5353, server)


def test_a_port_of_loopback_is_for_the_host_alone(machine: Machine):
    web = machine.container("web", machine.network(), ports=(port(80, 5000, "127.0.0.1"),))
    other = machine.container("other", machine.network("more", "172.18.0.0/16"))
    machine.world.run("ip", "route", "add", "127.0.0.1/32", "via", HOST, "table", "main")
    machine.world.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")

    with web.listen("0.0.0.0", 5000) as server:
        assert converse(machine.host, "127.0.0.1", 80, server)
        assert not machine.host.reaches(HOST, 80)
        assert not machine.world.reaches(HOST, 80)
        assert not machine.world.reaches("127.0.0.1", 80), "a neighbour of the host must not get there"
        assert not other.reaches(HOST, 80)


def test_a_container_does_not_reach_the_hosts_loopback(machine: Machine):
    """route_localnet lets it pass the bridge: the filter must not."""
    network = machine.network()
    one = machine.container("one", network)
    one.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
    one.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    one.run("ip", "route", "add", "127.0.0.1/32", "via", network.gateway, "src", "172.17.0.2")

    with machine.host.listen("127.0.0.1", 81):
        assert machine.host.reaches("127.0.0.1", 81, SECONDS)
        assert not one.reaches("127.0.0.1", 81)


def test_what_is_not_published_is_not_reached_from_outside(machine: Machine):
    web = machine.container("web", machine.network(), ports=(port(8080, 80),))
    machine.world.run("ip", "route", "add", "172.17.0.0/16", "via", HOST)

    with web.listen("0.0.0.0", 80), web.listen("0.0.0.0", 81):
        assert machine.world.reaches(HOST, 8080, SECONDS)
        assert not machine.world.reaches(machine.address("web"), 80)
        assert not machine.world.reaches(machine.address("web"), 81)


def test_a_range_is_one_element(machine: Machine):
    web = machine.container(
        "web", machine.network(), ports=tuple(port(number, number) for number in range(8000, 8101))
    )  # fmt: skip

    assert "elements = { 6 . 8000-8100 : 172.17.0.2 }" in machine.host.run(
        "nft", "-n", "list", "map", "ip", "pyrunc", "ranges"
    )  # fmt: skip
    for number in (8000, 8057, 8100):
        with web.listen("0.0.0.0", number) as server:
            assert converse(machine.world, HOST, number, server)
            assert converse(machine.host, "127.0.0.1", number, server)


def test_no_way_remains_once_it_is_unpublished(machine: Machine):
    network = machine.network()
    web = machine.container("web", network, ports=(port(8080, 80), port(9000, 9000), port(9001, 9001)))
    with web.listen("0.0.0.0", 80):
        assert machine.world.reaches(HOST, 8080, SECONDS)

        machine.disconnect("web", network)

    with machine.host.entered():
        assert wiring.published(machine.site) == []
    assert not machine.world.reaches(HOST, 8080)


def test_a_udp_client_that_never_pauses_finds_the_container(machine: Machine):
    """Before the port is published, while it is, and when the container has come back with another
    address."""
    network = machine.network()
    ports_of_it = (port(5353, 53, protocol="udp"),)
    with machine.world.socket(socket.SOCK_DGRAM) as client:
        client.connect((HOST, 5353))
        with machine.host.listen(HOST, 5353, socket.SOCK_DGRAM) as early:
            client.send(b"early")
            assert early.recv(16) == b"early"
        for number in range(2):
            web = machine.container("web", network, ports=ports_of_it)
            with web.listen("0.0.0.0", 53, socket.SOCK_DGRAM) as server:
                client.send(b"hello")
                assert server.recv(16) == b"hello", f"round {number}"
            machine.remove_container("web")
            machine.container(f"other{number}", network)  # takes the address


def choose(machine: Machine, *requests: ports.PortRequest):
    with machine.host.entered():
        return wiring.choose_ports(machine.site, machine.networks[0], requests)


def test_a_port_of_another_container_is_refused(machine: Machine):
    network = machine.network()
    machine.container("web", network, ports=(port(8080, 80), *(port(n, n) for n in range(8000, 8010))))

    for text, address in (("8080", ""), ("8080", "127.0.0.1"), ("8005", "")):
        with pytest.raises(PyruncError, match="failed: port is already allocated") as told:
            choose(machine, ports.parse_request("80/tcp", address, text))
        assert told.value.kind == CONFLICT
    chosen, held = choose(machine, ports.parse_request("80/udp", "", "8080"))
    held.close()
    assert chosen == (port(8080, 80, protocol="udp"),)


def test_the_kernel_decides_between_two_who_publish_at_the_same_time(machine: Machine):
    network = machine.network()
    machine.container("web", network, ports=(port(8080, 80),))

    with pytest.raises(PyruncError, match=r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated"):
        machine.container("second", network, ports=(port(8080, 80),))


def test_a_port_of_a_program_of_the_host_is_refused(machine: Machine):
    machine.network()
    with machine.host.listen("127.0.0.1", 8080), pytest.raises(PyruncError, match="address already in use"):
        choose(machine, ports.parse_request("80/tcp", "", "8080"))


def test_a_held_port_cannot_be_bound_beside_us(machine: Machine):
    machine.network()
    _, held = choose(machine, ports.parse_request("80/tcp", "", "8080"))

    with held, pytest.raises(OSError, match="in use"):
        machine.host.listen("0.0.0.0", 8080)
    machine.host.listen("0.0.0.0", 8080).close()


def test_of_a_range_the_first_that_is_free(machine: Machine):
    network = machine.network()
    machine.container("web", network, ports=(port(8000, 80),))
    request = ports.parse_request("5000/tcp", "", "8000-8002")

    with machine.host.listen("0.0.0.0", 8001):
        chosen, held = choose(machine, request)
        with held:
            assert chosen == (port(8002, 5000),)
            with pytest.raises(PyruncError, match="all ports are allocated"):
                choose(machine, request)


def test_two_of_one_container_do_not_get_the_same(machine: Machine):
    machine.network()
    parse = ports.parse_request
    for text, address in (("81/tcp", ""), ("80/tcp", ""), ("80/tcp", "127.0.0.1")):
        second = parse(text, address, "8080")
        words = rf"^Bind for {address or '0.0.0.0'}:8080 failed: port is already allocated$"
        with pytest.raises(PyruncError, match=words) as told:
            choose(machine, parse("80/tcp", "", "8080"), second)
        assert told.value.kind == CONFLICT
    machine.host.listen("0.0.0.0", 8080).close()

    asked = (parse("80/tcp", "", "8080-8082"), parse("81/tcp", "", "8080"), parse("80/udp", "", "8080"))
    chosen, held = choose(machine, *asked)
    held.close()
    assert chosen == (port(8081, 80), port(8080, 81), port(8080, 80, protocol="udp"))
    many = [parse(f"{n}/tcp", "", str(n)) for n in range(2000, 2300)]  # more than are held
    with pytest.raises(PyruncError, match="already allocated"):
        choose(machine, *many, parse("80/tcp", "", "2100"))


def test_any_port(machine: Machine):
    machine.network()
    chosen, held = choose(machine, *(ports.parse_request(f"{n}/tcp") for n in range(80, 90)))

    with held:
        assert len({item.host_port for item in chosen}) == 10
        assert all(item.host_port > 1024 for item in chosen)


def test_an_address_that_is_not_the_hosts_is_refused(machine: Machine):
    machine.network()
    with pytest.raises(PyruncError, match="cannot assign requested address"):
        choose(machine, ports.parse_request("80/tcp", "198.51.100.7", "8080"))
