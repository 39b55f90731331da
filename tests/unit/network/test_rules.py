"""network.rules: what the filter is told. What packets make of it is tried in tests/kernel/network."""

from __future__ import annotations

from pyrunc.network import rules
from pyrunc.network.model import Network, PortBinding

BRIDGE = Network(id="a" * 64, name="mine", subnet="10.0.0.0/24", gateway="10.0.0.1", bridge="pyr0")


def port(host: int, container: int, address: str = "0.0.0.0", protocol: str = "tcp") -> PortBinding:
    return PortBinding(protocol=protocol, container_port=container, host_address=address, host_port=host)


def test_ports_become_elements_of_the_map_that_fits():
    run = [port(number, number) for number in range(9000, 9003)]

    text = rules.publish("t", "10.0.0.2", [port(8080, 80), port(53, 53, "127.0.0.1", "udp"), *run])

    assert text.splitlines() == [
        "add element ip t ports { tcp . 8080 : 10.0.0.2 . 80 }",
        "add element ip t ports_at { 127.0.0.1 . udp . 53 : 10.0.0.2 . 53 }",
        "add element ip t ranges { tcp . 9000-9002 : 10.0.0.2 }",
    ]


def test_a_run_keeps_its_numbers_and_has_no_gap():
    cases = {
        "shifted": [port(1, 11), port(2, 12)],
        "gap": [port(1, 1), port(3, 3)],
        "two protocols": [port(1, 1), port(2, 2, protocol="udp")],
        "two addresses": [port(1, 1), port(2, 2, "127.0.0.1")],
        "one shifted": [port(1, 1), port(2, 3)],
    }
    assert {name: len(rules.runs(ports)) for name, ports in cases.items()} == dict.fromkeys(cases, 2)
    assert len(rules.runs([port(3, 3), port(1, 1), port(2, 2), port(2, 2)])) == 1


def test_no_ports_are_no_command():
    assert rules.publish("t", "10.0.0.2", []) == ""


def test_what_nft_lists_is_read():
    text = """table ip t {
	set bridges {
		type ifname
		elements = { "pyr0" }
	}

	map sources {
		type ipv4_addr : verdict
		elements = { 10.0.0.0/24 : jump out_a }
	}

	map ports { # handle 5
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 6 . 8080 : 10.0.0.2 . 80,
				udp . 53 : 10.0.0.3 . 53 }
	}

	map ranges_at {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr
		flags interval
		elements = { 127.0.0.1 . 6 . 9000-9002 : 10.0.0.2 }
	}
}
"""
    found = rules.parse_ports(text)

    assert [(item.map, item.key, item.address) for item in found] == [
        ("ports", "6 . 8080", "10.0.0.2"),
        ("ports", "udp . 53", "10.0.0.3"),
        ("ranges_at", "127.0.0.1 . 6 . 9000-9002", "10.0.0.2"),
    ]
    assert [(item.protocol, item.host_address, item.first_port, item.last_port) for item in found] == [
        ("tcp", "0.0.0.0", 8080, 8080),
        ("udp", "0.0.0.0", 53, 53),
        ("tcp", "127.0.0.1", 9000, 9002),
    ]


def elements(network: Network) -> set[str]:
    return {line.split()[4] for line in rules.add_network("t", network).splitlines() if "add element" in line}


def changed(**fields: object) -> Network:
    return Network(**{**BRIDGE.__dict__, **fields})


def test_what_a_network_is_decides_where_it_stands():
    assert elements(BRIDGE) == {"bridges", "sources", "neighbours"}
    assert elements(changed(icc=False)) == {"bridges", "sources"}
    assert elements(changed(internal=True, gateway_mode="nat-unprotected")) == {
        "bridges", "sources", "neighbours", "internal",
    }  # fmt: skip
    assert "open" in elements(changed(gateway_mode="nat-unprotected"))


def test_how_a_network_is_left():
    assert rules.add_network("t", BRIDGE).count("masquerade") == 2
    assert rules.add_network("t", changed(masquerade=False)).count("masquerade") == 1, "but for itself"
    assert "out_aaaaaaaaaaaa snat to 192.0.2.1" in rules.add_network("t", changed(host_address="192.0.2.1"))


def test_what_is_added_is_removed():
    text = rules.remove_network("t", BRIDGE)
    added = {line.split()[4] for line in text.splitlines() if line.startswith("add element")}
    deleted = {line.split()[4] for line in text.splitlines() if line.startswith("delete element")}
    assert added == deleted
    assert text.splitlines()[-1] == "delete chain ip t out_aaaaaaaaaaaa"


def test_the_foreign_chain():
    text = """table ip filter {
	chain FORWARD { # handle 1
		type filter hook forward priority filter; policy drop;
		oifname "pyr0" counter packets 0 bytes 0 accept comment "t" # handle 4
		iifname "pyr0" counter packets 0 bytes 0 accept comment "t" # handle 3
		iifname "pyr0" counter packets 0 bytes 0 accept comment "of others" # handle 2
	}
}
"""
    drops, there = rules.parse_foreign_chain("t", text)

    assert drops
    assert there == {
        "pyr0": ["delete rule ip filter FORWARD handle 4\n", "delete rule ip filter FORWARD handle 3\n"]
    }
    assert rules.parse_foreign_chain("t", "") == (False, {})
