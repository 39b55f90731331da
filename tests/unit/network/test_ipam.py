"""network.ipam: subnets and addresses, from what is taken."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.errors import CONFLICT, INVALID, PyruncError
from pyrunc.network import ipam
from pyrunc.network.model import Network


def network(subnet: str = "172.18.0.0/16", **fields: object) -> Network:
    given = {"gateway": ipam.choose_gateway(subnet), **fields}
    return Network(id="0" * 64, name="mine", subnet=subnet, bridge="pyr0", **given)


def test_the_pools_are_dockers():
    taken: list[str] = []
    for _ in range(31):
        taken.append(ipam.choose_subnet(taken))

    assert taken[:2] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert taken[14:17] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    with pytest.raises(PyruncError, match="fully subnetted") as told:
        ipam.choose_subnet(taken)
    assert told.value.kind == CONFLICT


def test_a_route_of_the_host_is_taken_but_not_the_default_one():
    assert ipam.choose_subnet(["172.17.8.0/24"]) == "172.18.0.0/16"
    assert ipam.choose_subnet(["0.0.0.0/0", "128.0.0.0/1", "0.0.0.0/1"]) == "172.17.0.0/16"


def test_a_subnet_is_free_unless_a_part_of_it_is_taken():
    assert ipam.is_free("172.17.0.0/16", ["0.0.0.0/0", "172.18.0.0/16"])
    assert not ipam.is_free("172.17.0.0/16", ["172.17.255.0/24"])
    assert not ipam.is_free("172.17.0.0/16", ["172.0.0.0/8"])


def test_a_chosen_subnet_overlaps_no_network():
    ipam.require_subnet_free("10.1.0.0/24", ["10.0.0.0/24"])
    with pytest.raises(PyruncError, match="Pool overlaps with other one on this address space"):
        ipam.require_subnet_free("10.0.0.128/25", ["10.0.0.0/24"])


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.0.0.0/31", "10.0.0/8/8", "fe80::/64", "10.0.0.256/8", "x"]
)
def test_what_is_no_subnet(text: str):
    with pytest.raises(PyruncError, match="invalid subnet") as told:
        ipam.parse_subnet(text)
    assert told.value.kind == INVALID


def test_the_gateway():
    assert ipam.choose_gateway("10.0.0.0/24") == "10.0.0.1"
    assert ipam.choose_gateway("10.0.0.0/24", "10.0.0.254") == "10.0.0.254"
    assert ipam.choose_gateway("10.0.0.0/24", ip_range="10.0.0.64/26") == "10.0.0.64"
    assert ipam.choose_gateway("10.0.0.0/24", aux_addresses=["10.0.0.1"]) == "10.0.0.2"
    for wrong in ("10.0.0.0", "10.0.0.255", "10.0.1.1", "nonsense"):
        with pytest.raises(PyruncError):
            ipam.choose_gateway("10.0.0.0/24", wrong)
    with pytest.raises(PyruncError, match="not in the subnet"):
        ipam.choose_gateway("10.0.0.0/24", ip_range="10.0.1.0/26")


def test_addresses_one_after_the_other_and_back_to_the_beginning():
    small = network("10.0.0.0/29")
    assert ipam.choose_address(small, []) == "10.0.0.2"
    assert ipam.choose_address(small, ["10.0.0.2"], last="10.0.0.4") == "10.0.0.5"
    assert ipam.choose_address(small, ["10.0.0.2", "10.0.0.6"], last="10.0.0.6") == "10.0.0.3"
    with pytest.raises(PyruncError, match="no available IPv4 addresses on this network's address pools"):
        ipam.choose_address(small, [f"10.0.0.{n}" for n in range(2, 7)])


def test_a_wanted_address():
    assert ipam.choose_address(network(), [], "172.18.9.9") == "172.18.9.9"
    with pytest.raises(PyruncError, match="Address already in use"):
        ipam.choose_address(network(), ["172.18.9.9"], "172.18.9.9")
    for wrong in ("172.18.0.1", "172.18.0.0", "172.19.0.2", "x"):
        with pytest.raises(PyruncError):
            ipam.choose_address(network(), [], wrong)


def test_only_of_the_range_and_no_auxiliary_one():
    mine = network(ip_range="172.18.5.0/30", aux_addresses=(("printer", "172.18.5.1"),))
    chosen: list[str] = []
    for _ in range(3):
        chosen.append(ipam.choose_address(mine, chosen))
    assert chosen == ["172.18.5.0", "172.18.5.2", "172.18.5.3"]
    with pytest.raises(PyruncError):
        ipam.choose_address(mine, chosen)


@given(st.sets(st.integers(0, 15)), st.integers(0, 15))
def test_what_is_chosen_is_free_and_there_is_one_as_long_as_there_can_be(taken: set[int], last: int):
    mine = network("10.0.0.0/28")
    used = {f"10.0.0.{number}" for number in taken}
    free = {str(a) for a in IPv4Network("10.0.0.0/28").hosts()} - used - {"10.0.0.1"}
    if free:
        assert ipam.choose_address(mine, used, last=f"10.0.0.{last}") in free
    else:
        with pytest.raises(PyruncError):
            ipam.choose_address(mine, used, last=f"10.0.0.{last}")


def test_hardware_addresses():
    assert ipam.mac_of("172.17.0.2") == "02:42:ac:11:00:02"
    assert ipam.require_mac("02-42-AC-11-00-02") == "02:42:ac:11:00:02"
    for wrong in ("", "02:42:ac:11:00", "02:42:ac:11:00:0g", "01:00:5e:00:00:01", "+2:42:ac:11:00:02"):
        with pytest.raises(PyruncError, match="invalid MAC address"):
            ipam.require_mac(wrong)


def test_interfaces_and_a_large_network_is_quick():
    assert ipam.choose_interface("eth", ["eth0", "eth2"]) == "eth1"
    first = int(IPv4Address("10.0.0.2"))
    taken = [str(IPv4Address(first + n)) for n in range(1000)]
    assert ipam.choose_address(network("10.0.0.0/8"), taken) == str(IPv4Address(first + 1000))
