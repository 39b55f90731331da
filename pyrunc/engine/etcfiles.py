"""The files of /etc that the engine gives a container: hosts, hostname, resolv.conf. Text in, text out;
pure."""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LOCAL_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("ff00::0", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)
_FALLBACK_SERVERS = ("8.8.8.8", "8.8.4.4")  # Docker's, where the host has none that a container reaches


def make_hosts(*, own: Iterable[str], names: str, extra: Iterable[str], gateway: str, host: str = "") -> str:
    """`own`: the container's addresses, `names`: what they are called; `extra`: NAME:ADDRESS, of which
    `host-gateway` is `gateway`. `host`: the host's own file, for a container in its network."""
    lines = [host.rstrip("\n")] if host else [f"{address}\t{name}" for address, name in _LOCAL_HOSTS]
    for entry in extra:
        name, separator, address = entry.partition("=") if "=" in entry else entry.partition(":")
        address = gateway if address == "host-gateway" else address.strip("[]")
        if not separator or not name or not address:
            raise PyruncError(
                INVALID, f"invalid entry for the hosts file: {entry!r}", hint="--add-host NAME:ADDRESS"
            )
        lines.append(f"{address}\t{name}")
    lines += [f"{address}\t{names}" for address in own]
    return "\n".join(lines) + "\n"


def names_of(hostname: str, domainname: str) -> str:
    """`web.example.org web` of hostname and domain, or of a hostname with dots."""
    full = f"{hostname}.{domainname}" if domainname else hostname
    short = full.partition(".")[0]
    return full if short == full else f"{full} {short}"


def parse_resolv(text: str) -> tuple[list[str], list[str], list[str]]:
    """(nameservers, search domains, options) of a resolv.conf(5)."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = words[1:]
        elif words[0] == "options":
            options += words[1:]
    return servers, search, options


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def make_resolv(
    host: str,
    *,
    servers: Iterable[str],
    search: Iterable[str],
    options: Iterable[str],
    embedded: str = "",
    is_host_network: bool = False,
) -> str:
    """`host`: the host's resolv.conf. A container with a network of its own can't reach a server on the
    host's loopback. `embedded`: the address of our DNS server, for user-defined networks."""
    theirs, their_search, their_options = parse_resolv(host)
    chosen = list(servers) or [server for server in theirs if is_host_network or not is_loopback(server)]
    if not chosen and not is_host_network:
        chosen = list(_FALLBACK_SERVERS)
    if embedded:
        chosen = [embedded]
    wanted_search = [domain for domain in (list(search) or their_search) if domain != "."]
    wanted_options = list(options) or their_options
    if embedded and not any(option.startswith("ndots:") for option in wanted_options):
        wanted_options = [*wanted_options, "ndots:0"]
    lines = [f"nameserver {server}" for server in chosen]
    if wanted_search:
        lines.append(f"search {' '.join(wanted_search)}")
    if wanted_options:
        lines.append(f"options {' '.join(wanted_options)}")
    return "\n".join(lines) + "\n"
