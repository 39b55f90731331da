"""Ports of the host's: which are free, and holding them.

Three things keep a published port ours. The filter's map has each key once, and refuses a second container
whatever process asks. The rules come before any listening socket, so that nobody takes what is led to a
container by binding the port later. And a bound socket of ours holds the port: without it a program that
binds it would believe to listen and never hear anything; with it, it is told EADDRINUSE. The socket only
binds: it does not listen, and without SO_REUSEADDR nobody can bind beside it. Whoever runs as long as the
container does has to hold the sockets: `Held.descriptors` are for being passed to it. A longer range than
`_HELD` is tried and let go, since each socket is a descriptor.
"""

from __future__ import annotations

import errno
import socket

from pyrunc.errors import CONFLICT, INVALID, UNSUPPORTED, PyruncError, describe_errno
from pyrunc.network.ipam import parse_address
from pyrunc.network.model import PortBinding, PortRequest
from pyrunc.network.rules import EVERYWHERE, PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from pyrunc.network.rules import Published

_HELD = 256
_ANY_PORT_TRIES = 64  # the kernel chooses, and may choose one that is published but not held
_LARGEST_PORT = 65535
_KINDS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}


class Held:
    """Sockets that are bound to ports, until it is closed."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def close(self) -> None:
        while self.sockets:
            self.sockets.pop().close()

    @property
    def descriptors(self) -> list[int]:
        """Theirs, which stay ours."""
        return [item.fileno() for item in self.sockets]

    def __enter__(self) -> Held:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def parse_request(port: str, host_address: str = "", host_port: str = "") -> PortRequest:
    """An entry of PortBindings in docker's API: "80/tcp"; "127.0.0.1" or ""; "8080", "8000-9000" or "".
    Raises INVALID, and UNSUPPORTED for an IPv6 address."""
    number, _, protocol = port.partition("/")
    protocol = protocol or "tcp"
    if protocol not in PROTOCOLS:
        raise PyruncError(INVALID, f"invalid proto: {protocol}", port)
    first, separator, last = host_port.partition("-")
    first_port = _parse_port(first, host_port) if host_port else 0
    last_port = _parse_port(last, host_port) if separator else first_port
    if last_port < first_port:
        raise PyruncError(INVALID, f"invalid port range: {host_port}", port)
    if ":" in host_address:
        raise PyruncError(UNSUPPORTED, f"publish on {host_address}", port, "only IPv4 is spoken here")
    if host_address:
        parse_address(host_address)
    return PortRequest(
        protocol=protocol, container_port=_parse_port(number, port), host_address=host_address,
        first_host_port=first_port, last_host_port=last_port,
    )  # fmt: skip


def _parse_port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > _LARGEST_PORT:
        raise PyruncError(INVALID, f"invalid port: {whole}")
    return int(text)


def choose(
    requests: Sequence[PortRequest], there: Sequence[Published], default_address: str = EVERYWHERE
) -> tuple[tuple[PortBinding, ...], Held]:
    """A free port of the host's for each request, where `there` is published already: for those that name
    one first, and last for those that take any. Raises PyruncError with docker's sentences; then none is
    held."""
    bindings: dict[int, PortBinding] = {}
    held, keep, own = Held(), len(requests) <= _HELD, _Own()
    try:
        for index, request in sorted(enumerate(requests), key=lambda item: _freedom(item[1])):
            binding, bound = _choose_one(request, there, own, default_address)
            bindings[index] = binding
            own.add(binding)
            if keep:
                held.sockets.append(bound)
            else:
                bound.close()
    except BaseException:
        held.close()
        raise
    return tuple(bindings[index] for index in range(len(requests))), held


def _freedom(request: PortRequest) -> int:
    """How many ports would do."""
    return request.last_host_port - request.first_host_port if request.first_host_port else _LARGEST_PORT


class _Own:
    """What the same container has got by now: its sockets are bound, or let go of where they are many."""

    def __init__(self) -> None:
        self._addresses: dict[tuple[str, int], set[str]] = {}

    def add(self, binding: PortBinding) -> None:
        self._addresses.setdefault((binding.protocol, binding.host_port), set()).add(binding.host_address)

    def has(self, protocol: str, address: str, number: int) -> bool:
        found = self._addresses.get((protocol, number), set())
        return bool(found) and (EVERYWHERE in (address, *found) or address in found)


def _choose_one(
    request: PortRequest, there: Iterable[Published], own: _Own, default_address: str
) -> tuple[PortBinding, socket.socket]:
    address = request.host_address or default_address
    taken = [
        item
        for item in there
        if item.protocol == request.protocol
        and (EVERYWHERE in (address, item.host_address) or address == item.host_address)
    ]
    is_choice = request.first_host_port != request.last_host_port
    tried = _ANY_PORT_TRIES * (0,) if not request.first_host_port else range(
        request.first_host_port, request.last_host_port + 1
    )  # fmt: skip
    for number in tried:
        if number and (
            own.has(request.protocol, address, number)
            or any(item.first_port <= number <= item.last_port for item in taken)
        ):
            if not is_choice:
                break
            continue
        try:
            bound = _bind(request.protocol, address, number)
        except OSError as error:
            if is_choice and error.errno == errno.EADDRINUSE:
                continue
            raise _refused(request, address, number, error) from error
        chosen = int(bound.getsockname()[1])
        if own.has(request.protocol, address, chosen) or any(
            item.first_port <= chosen <= item.last_port for item in taken
        ):
            bound.close()
            continue
        return (
            PortBinding(
                protocol=request.protocol, container_port=request.container_port, host_address=address,
                host_port=chosen,
            ),
            bound,
        )  # fmt: skip
    if is_choice or not request.first_host_port:
        words = f"{request.first_host_port}-{request.last_host_port}" if is_choice else "any port"
        raise PyruncError(CONFLICT, f"Bind for {address}:{words} failed: all ports are allocated")
    raise already_allocated(address, request.first_host_port)


def already_allocated(address: str, port: int) -> PyruncError:
    return PyruncError(CONFLICT, f"Bind for {address}:{port} failed: port is already allocated")


def _refused(request: PortRequest, address: str, number: int, error: OSError) -> PyruncError:
    port = f"{address}:{number}:{request.container_port}/{request.protocol}"
    words = f"failed to bind host port for {port}: {describe_errno(error.errno or 0)}"
    return PyruncError(CONFLICT if error.errno == errno.EADDRINUSE else INVALID, words)


def _bind(protocol: str, address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, *_KINDS[protocol])
    try:
        if protocol == "udp":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # nobody reads it: what comes is dropped
        bound.bind((address, port))
    except BaseException:
        bound.close()
        raise
    return bound
