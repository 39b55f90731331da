"""The packet filter as text for nft(8): what is in our table, and what each network and port adds to it.
Pure.

The table is one set of rules that never changes, over sets and maps that do: a network or a port is an
element, so that adding one costs the same however many there are, and a packet passes a handful of look-ups.
A run of ports that bear the same number inside and outside is one element. All text of a call is one
transaction.

What the rules say:
  - A new connection to a published port of an address of the host's is led to its container, from wherever it
    comes: outside, other containers, the host itself. Not from outside to 127.0.0.0/8, though: the kernel
    would have dropped such a packet, and so it does if we leave it alone.
  - What leaves a network bears the host's address; so does what comes back into the network that it came from
    (or else the answer would take a shorter way than the question), and what comes from the host's loopback.
  - Into a network goes only what belongs to a known connection, what is published, and its own traffic.
    Nothing of another network's, nothing from outside that has a route to it.
  - route_localnet, without which the host's loopback cannot be led anywhere, would let containers send to it.
    They cannot.
The chain `user` is passed first by all of this traffic. It is for the administrator, and never touched by us.
"""

from __future__ import annotations

from pyrunc.network.model import NAT_UNPROTECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyrunc.network.model import Network, PortBinding

EVERYWHERE = "0.0.0.0"
_NUMBERS = {"tcp": "6", "udp": "17", "sctp": "132"}
PROTOCOLS = tuple(_NUMBERS)
_PORT = "inet_proto . inet_service"
# name -> (what it is, its type): those of networks, then those of published ports
_OF_NETWORKS = {
    "bridges": "set ifname",
    "neighbours": "set ifname . ifname",  # twice the same bridge: its containers reach each other
    "internal": "set ifname",
    "open": "set ifname",
    "sources": "map ipv4_addr : verdict; flags interval",
}
_OF_PORTS = {
    "ports": f"map {_PORT} : ipv4_addr . inet_service",
    "ports_at": f"map ipv4_addr . {_PORT} : ipv4_addr . inet_service",
    "ranges": f"map {_PORT} : ipv4_addr; flags interval",
    "ranges_at": f"map ipv4_addr . {_PORT} : ipv4_addr; flags interval",
}
PORT_MAPS = tuple(_OF_PORTS)

_CHAINS = {
    "user": ("", ()),
    "local": ("filter hook prerouting priority raw", ("iifname @bridges ip daddr 127.0.0.0/8 drop",)),
    "published": (
        "",
        (
            "dnat ip to ip daddr . meta l4proto . th dport map @ports_at",
            "dnat ip to meta l4proto . th dport map @ports",
            "dnat ip to ip daddr . meta l4proto . th dport map @ranges_at",
            "dnat ip to meta l4proto . th dport map @ranges",
        ),
    ),
    "prerouting": (
        "nat hook prerouting priority dstnat",
        (
            "ip daddr != 127.0.0.0/8 fib daddr type local"
            " meta l4proto { tcp, udp, sctp } jump published",
        ),
    ),
    "output": (
        "nat hook output priority -100",
        ("fib daddr type local meta l4proto { tcp, udp, sctp } jump published",),
    ),
    "postrouting": (
        "nat hook postrouting priority srcnat",
        (
            "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
            "ip saddr vmap @sources",
        ),
    ),
    "traffic": (
        "",
        (
            "jump user",
            "ct state established,related accept",
            "iifname . oifname @neighbours accept",
            "iifname @internal drop",
            "oifname @internal drop",
            "oifname @bridges ct status dnat accept",
            "oifname @open iifname != @bridges accept",
            "oifname @bridges drop",
        ),
    ),
    "forward": (
        "filter hook forward priority filter",
        ("iifname @bridges goto traffic", "oifname @bridges goto traffic"),
    ),
}  # fmt: skip


def base(table: str) -> str:
    """The table with its chains and empty sets. Does no harm where it is there already: elements stay.

    A transaction of its own, before any element: nft puts the elements of an interval map that is new into
    the command that makes it, where the chains that they name are not there yet.
    """
    lines = [f"add table ip {table}"]
    for name, kind in (_OF_NETWORKS | _OF_PORTS).items():
        what, _, type_ = kind.partition(" ")
        lines.append(f"add {what} ip {table} {name} {{ type {type_}; }}")
    lines += [
        f"add chain ip {table} {name}" + (f" {{ type {hook}; policy accept; }}" if hook else "")
        for name, (hook, _) in _CHAINS.items()
    ]
    lines += [f"flush chain ip {table} {name}" for name in _CHAINS if name != "user"]
    lines += [f"add rule ip {table} {name} {rule}" for name, (_, rules) in _CHAINS.items() for rule in rules]
    return "\n".join(lines) + "\n"


def emptied(table: str) -> str:
    """No network and no port: what a rebuild begins with, in one transaction with what follows."""
    return "".join(
        f"flush {kind.split()[0]} ip {table} {name}\n" for name, kind in (_OF_NETWORKS | _OF_PORTS).items()
    )


def without_table(table: str) -> str:
    """All of it, and nothing if there is none."""
    return f"add table ip {table}\ndelete table ip {table}\n"


def _chain_of(network: Network) -> str:
    return f"out_{network.id[:12]}"


def _elements(network: Network) -> dict[str, str]:
    """Set or map -> the element of this network in it."""
    device = f'"{network.bridge}"'
    elements = {"bridges": device, "sources": network.subnet}
    if network.icc:
        elements["neighbours"] = f"{device} . {device}"
    if network.internal:
        elements["internal"] = device
    elif network.gateway_mode == NAT_UNPROTECTED:
        elements["open"] = device
    return elements


def add_network(table: str, network: Network) -> str:
    """Its elements, and the chain which says what address it leaves with. Does no harm if it is there."""
    chain, elements = _chain_of(network), _elements(network)
    elements["sources"] += f" : jump {chain}"
    lines = [f"add chain ip {table} {chain}", f"flush chain ip {table} {chain}"]
    lines += [f"add rule ip {table} {chain} {rule}" for rule in _leaving(network)]
    lines += [f"add element ip {table} {name} {{ {element} }}" for name, element in elements.items()]
    return "\n".join(lines) + "\n"


def find_network(table: str, network: Network) -> str:
    """Fails if the network is not there."""
    return f'get element ip {table} bridges {{ "{network.bridge}" }}\n'


def _leaving(network: Network) -> tuple[str, ...]:
    """What becomes of a packet of this network's that goes somewhere. By its address and not by the device
    that it came from, which is not known where a bridge passes it on (bridge-nf-call-iptables)."""
    own = f'oifname "{network.bridge}"'
    stays = (f"{own} ct status dnat masquerade", f"{own} return")
    if not network.masquerade:
        return stays
    return (*stays, f"snat to {network.host_address}" if network.host_address else "masquerade")


def remove_network(table: str, network: Network) -> str:
    """The opposite. It is added first: nft has no way to delete what may not be there."""
    lines = [
        f"delete element ip {table} {name} {{ {element} }}" for name, element in _elements(network).items()
    ]
    return (
        add_network(table, network)
        + "\n".join([*lines, f"delete chain ip {table} {_chain_of(network)}"])
        + "\n"
    )


def publish(table: str, address: str, ports: Iterable[PortBinding]) -> str:
    """Elements for the ports of the container at `address`: as `add`, which the kernel refuses
    (EBUSY, or EEXIST) where one leads elsewhere already."""
    return _element_commands("add", table, _port_elements(address, ports))


def unpublish(table: str, there: Iterable[tuple[str, str]]) -> str:
    """Without the elements (map, key) that are there."""
    elements: dict[str, list[str]] = {}
    for name, key in there:
        elements.setdefault(name, []).append(key)
    return _element_commands("delete", table, elements)


def _element_commands(verb: str, table: str, elements: dict[str, list[str]]) -> str:
    return "".join(
        f"{verb} element ip {table} {name} {{ {', '.join(keys)} }}\n"
        for name, keys in elements.items()
        if keys
    )


def _port_elements(address: str, ports: Iterable[PortBinding]) -> dict[str, list[str]]:
    elements: dict[str, list[str]] = {name: [] for name in PORT_MAPS}
    for run in runs(ports):
        first, at = run[0], "" if run[0].host_address == EVERYWHERE else "_at"
        key = f"{first.host_address} . {first.protocol}" if at else first.protocol
        if len(run) > 1:
            element = f"{key} . {first.host_port}-{run[-1].host_port} : {address}"
        else:
            element = f"{key} . {first.host_port} : {address} . {first.container_port}"
        elements[("ranges" if len(run) > 1 else "ports") + at].append(element)
    return elements


def runs(ports: Iterable[PortBinding]) -> list[Sequence[PortBinding]]:
    """Ports one after the other whose numbers are the same inside and outside are taken together: the filter
    leads a range to an address and leaves the number alone. It cannot shift one."""
    found: list[list[PortBinding]] = []
    for port in sorted(set(ports), key=lambda item: (item.protocol, item.host_address, item.host_port)):
        last = found[-1][-1] if found else None
        if (
            last is not None
            and (port.protocol, port.host_address) == (last.protocol, last.host_address)
            and port.host_port == port.container_port == last.host_port + 1
            and last.host_port == last.container_port
        ):
            found[-1].append(port)
        else:
            found.append([port])
    return list(found)


def lead_questions(table: str, address: str, udp_port: int, tcp_port: int) -> str:
    """In a sandbox: port 53 of `address` is where the DNS process listens."""
    chain = f"ip {table} questions"
    return (
        f"add table ip {table}\n"
        f"add chain {chain} {{ type nat hook output priority -100; policy accept; }}\n"
        f"flush chain {chain}\n"
        f"add rule {chain} ip daddr {address} udp dport 53 dnat to {address}:{udp_port}\n"
        f"add rule {chain} ip daddr {address} tcp dport 53 dnat to {address}:{tcp_port}\n"
    )


FOREIGN_CHAIN = "ip filter FORWARD"  # that of iptables, where it is nftables underneath
_INTERFACES = ("iifname", "oifname")


def accept_in_foreign_chain(table: str, bridges: Iterable[str]) -> str:
    """What another engine or a firewall drops by default is let through for these: our own table decides
    about it, and a packet has to be accepted by both. In words that iptables can show."""
    return "".join(
        f'insert rule {FOREIGN_CHAIN} {interface} "{bridge}" counter accept comment "{table}"\n'
        for bridge in bridges
        for interface in _INTERFACES
    )


def parse_foreign_chain(table: str, text: str) -> tuple[bool, dict[str, list[str]]]:
    """Does it drop by default? And for each bridge the commands that delete our rules."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if f'comment "{table}"' in line and words[0] in _INTERFACES:
            command = f"delete rule {FOREIGN_CHAIN} handle {words[-1]}\n"
            found.setdefault(words[1].strip('"'), []).append(command)
    return "policy drop;" in text, found


class Published:
    """An element of a port map, as the kernel has it."""

    def __init__(self, name: str, key: str, target: str) -> None:
        fields = [part.strip() for part in key.split(" . ")]
        first, _, last = fields[-1].partition("-")
        self.map, self.key = name, key
        self.address = target.split(" . ")[0]
        self.host_address = fields[0] if name.endswith("_at") else EVERYWHERE
        self.protocol = next((word for word, number in _NUMBERS.items() if fields[-2] in (word, number)), "")
        self.first_port, self.last_port = int(first), int(last or first)


def list_ports(table: str) -> str:
    """All of the table: nft 1.0 answers no more than one question about a map at a time."""
    return f"list table ip {table}\n"


def parse_ports(text: str) -> list[Published]:
    """Of what `list_ports` prints the port maps: `map NAME {`, and elements `KEY : TARGET` with commas."""
    found: list[Published] = []
    for block in text.split("\tmap ")[1:]:
        name = block.split(" ", 1)[0]
        if name not in PORT_MAPS:
            continue
        _, _, elements = block.partition("}")[0].partition("elements = {")
        for element in elements.split(","):
            key, separator, target = element.partition(" : ")
            if separator:
                found.append(Published(name, key.strip(), target.strip()))
    return found
