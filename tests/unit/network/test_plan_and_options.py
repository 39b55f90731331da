"""network.plan and network.options: what is to be done, and what a user's words mean."""

from __future__ import annotations

import pytest

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.network import plan
from pyrunc.network.model import Attachment, Endpoint, Network, Site, bridge_name, is_device_name
from pyrunc.network.options import options_of, parse_options
from pyrunc.network.ports import parse_request

SITE = Site(run_root="/run/x")


def attachment(name: str = "mine", number: int = 0, priority: int = 0, **fields: object) -> Attachment:
    subnet = f"172.{17 + number}.0"
    network = Network(
        id=str(number) * 64, name=name, subnet=f"{subnet}.0/16", gateway=f"{subnet}.1",
        bridge=f"pyr{number}", **fields,
    )  # fmt: skip
    endpoint = Endpoint(
        id="e" * 64, network_id=network.id, container_id="c", address=f"{subnet}.2", mac="02:42:ac:11:00:02",
        interface=f"eth{number}", gateway_priority=priority,
    )  # fmt: skip
    return Attachment(network=network, endpoint=endpoint)


def test_a_bridge():
    create, address, up = plan.plan_bridge(SITE, attachment(mtu=1400).network)

    assert create == plan.CreateBridge(name="pyr0", mac="02:42:ac:11:00:01", mtu=1400, group=SITE.link_group)
    assert address == plan.AddAddress(name="pyr0", address="172.17.0.1", prefix_length=16)
    assert up == plan.SetUp(name="pyr0")
    assert len(plan.plan_bridge(SITE, attachment(gateway_mode="isolated").network)) == 2, "without address"


def test_a_pair():
    assert plan.plan_veth(SITE, attachment(icc=False)) == plan.CreateVeth(
        name="pyv" + "e" * 12, bridge="pyr0", peer="eth0", mac="02:42:ac:11:00:02", mtu=1500,
        group=SITE.link_group, isolated=True,
    )  # fmt: skip


def test_the_way_out():
    first, second = attachment("b", 0), attachment("a", 1)
    inner, preferred = attachment("0", 2, internal=True), attachment("z", 3, priority=1)

    assert plan.gateway_of([]) is None
    assert plan.gateway_of([inner]) is None
    assert plan.gateway_of([first, second, inner]) == second
    assert plan.gateway_of([first, preferred, second]) == preferred
    assert plan.plan_route([first, inner]) == plan.SetDefaultRoute(name="eth0", gateway="172.17.0.1")
    assert plan.plan_route([inner]) == plan.RemoveDefaultRoute(name="")


def test_options_become_fields():
    assert parse_options({
        "com.docker.network.bridge.name": "br7", "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.enable_ip_masquerade": "0", "com.docker.network.driver.mtu": "9000",
        "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
        "com.docker.network.host_ipv4": "192.0.2.1",
        "com.docker.network.container_iface_prefix": "net", "org.example": "whatever",
    }) == {
        "bridge": "br7", "icc": False, "masquerade": False, "mtu": 9000, "host_binding": "127.0.0.1",
        "gateway_mode": "nat-unprotected", "host_address": "192.0.2.1", "interface_prefix": "net",
    }  # fmt: skip


@pytest.mark.parametrize(("option", "value"), [
    ("bridge.name", "a/b"), ("bridge.name", "x" * 16), ("bridge.name", "a b"), ("bridge.name", 'x" drop'),
    ("bridge.enable_icc", "maybe"), ("driver.mtu", "-1"), ("driver.mtu", "67"), ("driver.mtu", "x"),
    ("bridge.host_binding_ipv4", "::1"), ("host_ipv4", "here"), ("bridge.gateway_mode_ipv4", "routed"),
    ("container_iface_prefix", "thirteenbytes"),
])  # fmt: skip
def test_what_cannot_be(option: str, value: str):
    with pytest.raises(PyruncError, match=option) as told:
        parse_options({f"com.docker.network.{option}": value})
    assert told.value.kind == INVALID


def test_an_option_that_is_not_there_is_not_passed_over():
    with pytest.raises(PyruncError, match="enable_ipv6") as told:
        parse_options({"com.docker.network.enable_ipv6": "true"})
    assert told.value.kind == UNSUPPORTED


def test_requests_for_ports():
    one = parse_request("80/tcp", "127.0.0.1", "8080")
    assert (one.container_port, one.host_address, one.first_host_port, one.last_host_port) == (
        80,
        "127.0.0.1",
        8080,
        8080,
    )
    assert parse_request("80").protocol == "tcp"
    some = parse_request("5000/udp", "", "8000-9000")
    assert (some.protocol, some.first_host_port, some.last_host_port) == ("udp", 8000, 9000)
    assert parse_request("80/tcp").first_host_port == 0


@pytest.mark.parametrize(("port", "address", "host"), [
    ("80/icmp", "", ""), ("x", "", ""), ("", "", ""), ("65536", "", ""), ("80", "", "70000"),
    ("80", "", "9-8"), ("80", "", "8-"), ("80", "here", ""), ("80", "", "-1"), ("٣", "", ""),
])  # fmt: skip
def test_requests_that_cannot_be(port: str, address: str, host: str):
    with pytest.raises(PyruncError) as told:
        parse_request(port, address, host)
    assert told.value.kind == INVALID


def test_ipv6_is_refused_by_name():
    with pytest.raises(PyruncError, match="only IPv4"):
        parse_request("80", "::1", "80")


def test_names_of_devices_fit_the_kernel():
    assert is_device_name(bridge_name("f" * 64))
    assert is_device_name(attachment().endpoint.host_interface)
    assert not is_device_name("..")


def test_two_engines_know_their_links_apart():
    assert SITE.link_group != Site(run_root="/run/y", table="other").link_group
    assert 0 < SITE.link_group < 1 << 31


def test_what_is_shown_of_the_default_network_could_have_been_asked_for():
    network = attachment(icc=False, mtu=1400, is_default=True).network
    shown = options_of(network)
    assert shown["com.docker.network.bridge.default_bridge"] == "true"
    found = parse_options(shown)
    assert {name: getattr(network, name) for name in found} == found
    assert (found["icc"], found["mtu"], found["bridge"]) == (False, 1400, network.bridge)
