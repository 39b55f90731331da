"""The engine's side of names: the files that the DNS processes read, the sockets they answer at, and the
processes themselves. Everything of a network is done under its lock, whatever process does it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

from pyrunc import files
from pyrunc.errors import INTERNAL, PyruncError, doing
from pyrunc.network import nft, rules, sandbox
from pyrunc.network.model import DNS_ADDRESS, ISOLATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pyrunc.network.model import Endpoint, Network, Sandbox, Site

_PACKAGE = __file__.rpartition("/pyrunc/")[0]
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pyrunc.network.dns import main; main(*sys.argv[2:])"
)
SHORT = 12  # of an id, in names of files
_START_SECONDS, _TALK_SECONDS = 10, 5.0


def directory(site: Site) -> str:
    return f"{site.run_root}/dns"


def _file(site: Site, network_id: str, ending: str) -> str:
    return f"{directory(site)}/{network_id[:SHORT]}.{ending}"


@contextmanager
def _locked(site: Site, network_id: str) -> Iterator[None]:
    with doing("lock the names of a network", directory(site)):
        os.makedirs(directory(site), mode=0o755, exist_ok=True)
        lock = os.open(_file(site, network_id, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _sweep(site: Site, network_id: str) -> None:
    """What processes were writing when they were killed: under the lock nobody else is."""
    for name in os.listdir(directory(site)):
        if name.startswith(f".{network_id[:SHORT]}."):
            os.unlink(f"{directory(site)}/{name}")


def _change_names(site: Site, network: Network, change: Callable[[dict[str, Any]], None]) -> None:
    path = _file(site, network.id, "json")
    with _locked(site, network.id):
        try:
            endpoints = json.loads(files.read_whole(path))["endpoints"]
        except FileNotFoundError:
            endpoints = {}
        change(endpoints)
        _write_names(site, network, endpoints)


def _write_names(site: Site, network: Network, endpoints: dict[str, Any]) -> None:
    description = {
        "name": network.name, "subnet": network.subnet,
        "gateway": "" if network.gateway_mode == ISOLATED else network.gateway,
        "endpoints": endpoints,
    }  # fmt: skip
    with doing("write the names of a network"):
        files.write_atomically(_file(site, network.id, "json"), json.dumps(description).encode())


def _described(endpoint: Endpoint) -> dict[str, Any]:
    return {"names": endpoint.names, "address": endpoint.address}


def add_names(site: Site, network: Network, endpoint: Endpoint) -> None:
    """The names of the endpoint lead to its address, at once. Nothing is done for the default network."""
    if not network.is_default:
        _change_names(site, network, lambda there: there.update({endpoint.id: _described(endpoint)}))


def remove_names(site: Site, network: Network, endpoint: Endpoint) -> None:
    if not network.is_default:
        _change_names(site, network, lambda there: there.pop(endpoint.id, None))


def replace_names(site: Site, network: Network, endpoints: Iterable[Endpoint]) -> None:
    """All names of the network are those of these endpoints."""
    if not network.is_default:
        with _locked(site, network.id):
            _sweep(site, network.id)
            _write_names(site, network, {item.id: _described(item) for item in endpoints})


def serve(site: Site, state: Sandbox) -> None:
    """The container's questions to 127.0.0.11 are answered by the process of the first of its networks that
    has names, which knows of the others. Nothing is done for a container with none of them."""
    named = [item.network for item in state.attachments if not item.network.is_default]
    if not named:
        return
    network_id = named[0].id
    told = {
        "do": "serve", "container": state.container_id,
        "networks": [network.id[:SHORT] for network in named],
        "servers": state.dns_servers, "extra": {name.lower(): address for name, address in state.dns_names},
        "forward": not all(item.network.internal for item in state.attachments),
    }  # fmt: skip
    with _locked(site, network_id):
        clients = {
            name: client
            for name, client in _read_clients(site, network_id).items()
            if sandbox.is_there(sandbox.path_of(site, name))
        }
        clients[state.container_id] = told
        _write_clients(site, network_id, clients)
        if _tell(site, network_id, {"do": "nothing"}):
            clients = {state.container_id: told}
        else:
            _start(site, network_id)
        for client in clients.values():
            _introduce(site, network_id, client)


def _introduce(site: Site, network_id: str, told: dict[str, Any]) -> None:
    """Make the sockets in the container's sandbox and hand them over."""
    path = sandbox.path_of(site, told["container"])
    with sandbox.open_namespace(path) as namespace, sandbox.inside(namespace):
        sockets = _open_sockets()
        try:
            ports = [int(item.getsockname()[1]) for item in sockets]
            nft.run(rules.lead_questions(site.table, DNS_ADDRESS, *ports), "lead questions for names")
        except BaseException:
            _close(sockets)
            raise
    try:
        if not _tell(site, network_id, told, sockets):
            raise PyruncError(INTERNAL, "the DNS process of a network does not answer", network_id[:SHORT])
    finally:
        _close(sockets)


def _read_clients(site: Site, network_id: str) -> dict[str, Any]:
    """The containers that the network's process serves, each with what it was told: a process that takes its
    place is told the same."""
    try:
        found: dict[str, Any] = json.loads(files.read_whole(_file(site, network_id, "clients")))
    except FileNotFoundError:
        return {}
    return found


def _write_clients(site: Site, network_id: str, clients: dict[str, Any]) -> None:
    with doing("write the containers of a DNS process"):
        files.write_atomically(_file(site, network_id, "clients"), json.dumps(clients).encode(), 0o600)


def _open_sockets() -> tuple[socket.socket, socket.socket]:
    """UDP and TCP at 127.0.0.11, on ports that the kernel chooses: 53 may be wanted by the container
    itself."""
    with doing("listen for questions for names", DNS_ADDRESS):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            datagrams.bind((DNS_ADDRESS, 0))
            listener.bind((DNS_ADDRESS, 0))
            listener.listen(16)
        except BaseException:
            _close((datagrams, listener))
            raise
    return datagrams, listener


def _close(sockets: Iterable[socket.socket]) -> None:
    for item in sockets:
        item.close()


def forget(site: Site, network: Network, container_id: str) -> None:
    """The network's process serves the container no longer. Nothing is done if it does not run."""
    if not network.is_default and os.path.exists(_file(site, network.id, "clients")):
        with _locked(site, network.id):
            clients = _read_clients(site, network.id)
            if clients.pop(container_id, None) is not None:
                _write_clients(site, network.id, clients)
                _tell(site, network.id, {"do": "forget", "container": container_id})


def stop(site: Site, network_id: str) -> None:
    """No process and no file of the network is left."""
    if not os.path.isdir(directory(site)):
        return
    with _locked(site, network_id):
        _tell(site, network_id, {"do": "stop"})
        _sweep(site, network_id)
        for ending in ("sock", "json", "clients", "lock"):
            try:
                os.unlink(_file(site, network_id, ending))
            except FileNotFoundError:
                pass


def known_networks(site: Site) -> set[str]:
    """Short ids of the networks that have files here."""
    try:
        return {name.partition(".")[0] for name in os.listdir(directory(site)) if not name.startswith(".")}
    except FileNotFoundError:
        return set()


def _tell(site: Site, network_id: str, told: dict[str, Any], sockets: Iterable[socket.socket] = ()) -> bool:
    """One message. Was there somebody who said that it is done? A process that does not answer is ended, by
    the pid that the kernel names."""
    connection = _connect(site, network_id)
    if connection is None:
        return False
    with connection:
        try:
            descriptors = [item.fileno() for item in sockets]
            socket.send_fds(connection, [json.dumps(told).encode()], descriptors)
            if connection.recv(16) == b"done":
                return True
        except OSError:
            pass
        _end(connection)
    return False


def _connect(site: Site, network_id: str) -> socket.socket | None:
    """None if nobody listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(_TALK_SECONDS)
    holder = os.open(directory(site), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{holder}/{network_id[:SHORT]}.sock")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    finally:
        os.close(holder)
    return connection


def _end(connection: socket.socket) -> None:
    """A process that hangs, or has closed the connection because it ends."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid = int.from_bytes(credentials[:4], sys.byteorder)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _start(site: Site, network_id: str) -> None:
    """Its first process ends when it is heard; what goes on is nobody's child. Raises PyruncError."""
    command = (sys.executable, "-ISEB", "-X", "utf8", "-c", _PROGRAM, _PACKAGE, directory(site))
    try:
        done = subprocess.run(
            (*command, network_id[:SHORT]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env={}, timeout=_START_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PyruncError(INTERNAL, "start the DNS process of a network", network_id, str(error)) from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise PyruncError(INTERNAL, "start the DNS process of a network", network_id[:SHORT], words)
