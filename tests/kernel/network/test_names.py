"""Names: asked as a container asks, by UDP and TCP, of the process that serves its network."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest
from support.machine import HOST, WORLD, Machine
from support.netns import Namespace
from support.waiting import until

from pyrunc.network import names, resolver, wiring
from pyrunc.network.model import DNS_ADDRESS, Sandbox

MORE = "172.18.0.0/16"


def question(name: str, kind: int = names.A, identity: int = 7) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part)
    return struct.pack("!HHHHHH", identity, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def parse(reply: bytes) -> tuple[int, list[str]]:
    """(code, data of the answers): addresses, or names of pointers; of our own answers, which compress
    nothing but the name that was asked."""
    _, flags, _, count, _, _ = struct.unpack_from("!HHHHHH", reply)
    at, found = reply.index(b"\0", 12) + 5, []
    for _ in range(count):
        kind, _, _, length = struct.unpack_from("!HHIH", reply, at + 2)
        data = reply[at + 12 : at + 12 + length]
        found.append(socket.inet_ntoa(data) if kind == names.A else decode(data))
        at += 12 + length
    return flags & 15, found


def decode(data: bytes) -> str:
    labels, at = [], 0
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels)


def ask(inside: Namespace, name: str, kind: int = names.A, by_tcp: bool = False) -> tuple[int, list[str]]:
    with inside.socket(socket.SOCK_STREAM if by_tcp else socket.SOCK_DGRAM) as client:
        client.connect((DNS_ADDRESS, 53))
        message = question(name, kind)
        if by_tcp:
            client.sendall(len(message).to_bytes(2, "big") + message)
            return parse(client.recv(4096)[2:])
        client.send(message)
        return parse(client.recv(4096))


@pytest.mark.parametrize("by_tcp", [False, True], ids=["udp", "tcp"])
def test_names_of_the_network(machine: Machine, by_tcp: bool):
    network = machine.network("mine", MORE)
    one = machine.container("one", network)
    machine.states["two"] = Sandbox(container_id="two")
    with machine.host.entered():
        wiring.create_sandbox(machine.site, "two")
    machine.connect("two", network, names=("two", "Alias", "0123456789ab"))

    for name in ("two", "alias", "ALIAS", "0123456789ab", "two.mine"):
        assert ask(one, name, by_tcp=by_tcp) == (names.NO_ERROR, ["172.18.0.3"]), name
    assert ask(one, "two", names.AAAA, by_tcp) == (names.NO_ERROR, [])
    assert ask(one, "3.0.18.172.in-addr.arpa", names.PTR, by_tcp) == (names.NO_ERROR, ["two.mine"])
    assert ask(one, "9.0.18.172.in-addr.arpa", names.PTR, by_tcp) == (names.NAME_ERROR, [])
    assert ask(one, "three", by_tcp=by_tcp) == (names.NAME_ERROR, [])
    assert ask(one, "host.docker.internal", by_tcp=by_tcp) == (names.NO_ERROR, ["172.18.0.1"])


def test_names_come_and_go_with_their_containers(machine: Machine):
    network = machine.network("mine", MORE)
    one = machine.container("one", network)
    for _ in range(2):
        machine.states["two"] = Sandbox(container_id="two")
        with machine.host.entered():
            wiring.create_sandbox(machine.site, "two")
        machine.connect("two", network, names=("two",))
        assert ask(one, "two")[1] == ["172.18.0.3"]
        machine.remove_container("two")
        assert ask(one, "two") == (names.NAME_ERROR, [])


def test_a_container_of_two_networks_knows_both_and_others_do_not(machine: Machine):
    first, second = machine.network("first", MORE), machine.network("second", "172.19.0.0/16")
    both = machine.container("both", first)
    machine.connect("both", second, names=("both",))
    left = machine.container("left", first)
    machine.states["right"] = Sandbox(container_id="right")
    with machine.host.entered():
        wiring.create_sandbox(machine.site, "right")
    machine.connect("right", second, names=("right",))

    assert ask(both, "right") == (names.NO_ERROR, ["172.19.0.3"])
    assert ask(left, "right") == (names.NAME_ERROR, [])

    machine.disconnect("both", first)
    assert ask(both, "right") == (names.NO_ERROR, ["172.19.0.3"]), "another process serves it now"


def serve_once(server: socket.socket, address: str) -> bytes:
    """Play a name server outside: answer one question with an address."""
    data, asker = server.recvfrom(4096)
    answer = names.answer(names.parse_question(data), names.NO_ERROR, [(names.A, socket.inet_aton(address))])
    server.sendto(answer, asker)
    return data


def test_other_names_are_asked_outside_with_an_id_of_their_own(machine: Machine):
    network = machine.network("mine", MORE)
    one = machine.container("one", network, dns_servers=(WORLD,))
    with (
        machine.world.listen("0.0.0.0", 53, socket.SOCK_DGRAM) as server,
        one.socket(socket.SOCK_DGRAM) as client,
    ):
        client.connect((DNS_ADDRESS, 53))
        ids = set()
        for _ in range(4):
            client.send(question("example.org"))
            ids.add(serve_once(server, "192.0.2.1")[:2])
            reply = client.recv(4096)
            assert (reply[:2], parse(reply)) == (b"\0\7", (names.NO_ERROR, ["192.0.2.1"]))
    assert len(ids) > 1


def test_a_forged_answer_is_not_taken(machine: Machine):
    one = machine.container("one", machine.network("mine", MORE), dns_servers=(WORLD,))
    with (
        machine.world.listen("0.0.0.0", 53, socket.SOCK_DGRAM) as server,
        one.socket(socket.SOCK_DGRAM) as client,
    ):
        client.connect((DNS_ADDRESS, 53))
        client.send(question("example.org"))
        data, asker = server.recvfrom(4096)
        wrong = names.answer(names.parse_question(data), names.NO_ERROR, [(names.A, bytes(4))])
        server.sendto(bytes([wrong[0] ^ 1]) + wrong[1:], asker)
        other = names.parse_question(question("example.com", identity=int.from_bytes(data[:2], "big")))
        server.sendto(names.answer(other, names.NO_ERROR, [(names.A, bytes(4))]), asker)
        server.sendto(names.answer(names.parse_question(data), names.NAME_ERROR), asker)

        assert parse(client.recv(4096)) == (names.NAME_ERROR, [])


def test_the_second_server_is_asked_when_the_first_is_silent(machine: Machine):
    one = machine.container("one", machine.network("mine", MORE), dns_servers=(WORLD, HOST))
    with machine.host.listen(HOST, 53, socket.SOCK_DGRAM) as server, one.socket(socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.connect((DNS_ADDRESS, 53))
        client.send(question("example.org"))
        server.settimeout(30)
        serve_once(server, "192.0.2.1")
        assert parse(client.recv(4096)) == (names.NO_ERROR, ["192.0.2.1"])


def test_by_tcp_it_is_asked_outside_by_tcp(machine: Machine):
    one = machine.container("one", machine.network("mine", MORE), dns_servers=(WORLD,))
    with machine.world.listen("0.0.0.0", 53) as server, one.socket() as client:
        client.connect((DNS_ADDRESS, 53))
        message = question("example.org")
        client.sendall(len(message).to_bytes(2, "big") + message)
        upstream, _ = server.accept()
        with upstream:
            upstream.settimeout(30)
            asked = upstream.recv(4096)[2:]
            answer = names.answer(names.parse_question(asked), names.NO_ERROR, [(names.A, bytes(4))] * 100)
            upstream.sendall(len(answer).to_bytes(2, "big") + answer[:9])
            upstream.sendall(answer[9:])
            received = b""
            while len(received) < 2 + len(answer):
                received += client.recv(65536)
    assert len(parse(received[2:])[1]) == 100


def test_an_internal_network_asks_nobody_outside(machine: Machine):
    one = machine.container("one", machine.network("mine", MORE, internal=True), dns_servers=(HOST,))
    with machine.host.listen(HOST, 53, socket.SOCK_DGRAM) as server:
        assert ask(one, "example.org") == (names.SERVER_FAILURE, [])
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(1)


def process_of(machine: Machine, network) -> int:
    """Who listens, as the kernel says."""
    path = f"{resolver.directory(machine.site)}/{network.id[:12]}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        holder = os.open(os.path.dirname(path), os.O_PATH)
        client.connect(f"/proc/self/fd/{holder}/{os.path.basename(path)}")
        os.close(holder)
        return struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def test_the_process_has_no_privilege(machine: Machine):
    network = machine.network("mine", MORE)
    machine.container("one", network)
    pid = process_of(machine, network)

    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert set(lines["Uid"].split()) == set(lines["Gid"].split()) == {"65534"}
    assert (lines["CapPrm"], lines["CapEff"], lines["Groups"].strip(), lines["NoNewPrivs"]) == (
        "0" * 16, "0" * 16, "", "1",
    )  # fmt: skip


def test_hostile_messages_leave_it_alive(machine: Machine):
    network = machine.network("mine", MORE)
    one = machine.container("one", network)
    whole = question("one", names.ANY)
    hostile = [b"", b"\0", *(whole[:end] for end in range(len(whole))), bytes(4096), b"\xff" * 4096,
               whole[:12] + b"\xc0\x0c" + whole[-4:], whole[:12] + b"\x3f" * 300 + whole[-4:]]  # fmt: skip
    with one.socket(socket.SOCK_DGRAM) as client:
        client.connect((DNS_ADDRESS, 53))
        for message in hostile:
            client.send(message)
    with one.socket() as client:
        client.connect((DNS_ADDRESS, 53))
        client.sendall((b"\0\x0c" + bytes(12)) * 500)
        until(lambda: client.recv(65536), "an answer to each of many small questions")
    streams = [one.socket() for _ in range(24)]
    for stream in streams:
        stream.connect((DNS_ADDRESS, 53))

    assert ask(one, "host.docker.internal") == (names.NO_ERROR, ["172.18.0.1"])
    for stream in streams:
        stream.close()


def test_a_process_that_was_killed_is_started_again_by_reconcile(machine: Machine):
    network = machine.network("mine", MORE)
    one = machine.container("one", network)
    pid = process_of(machine, network)
    os.kill(pid, 9)
    until(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid), "its end")

    with machine.host.entered():
        wiring.reconcile(machine.site, machine.networks, tuple(machine.states.values()))

    assert process_of(machine, network) != pid
    assert ask(one, "host.docker.internal") == (names.NO_ERROR, ["172.18.0.1"])


def test_a_process_that_was_killed_is_replaced_for_all_at_the_next_container(machine: Machine):
    network = machine.network("mine", MORE)
    one = machine.container("one", network)
    machine.container("gone", network)
    machine.remove_container("gone")
    pid = process_of(machine, network)
    os.kill(pid, 9)
    until(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid), "its end")

    two = machine.container("two", network)

    for container in (one, two):
        assert ask(container, "host.docker.internal") == (names.NO_ERROR, ["172.18.0.1"])


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_process_ends_with_its_network(machine: Machine):
    network = machine.network("mine", MORE)
    machine.container("one", network)
    pid = process_of(machine, network)

    machine.remove_container("one")
    machine.close_networks()

    until(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid), "its end")


def test_the_default_network_has_no_names(machine: Machine):
    one = machine.container("one", machine.network(is_default=True))

    with one.socket(socket.SOCK_DGRAM) as client, pytest.raises(ConnectionRefusedError):
        client.connect((DNS_ADDRESS, 53))
        client.send(question("one"))
        client.recv(16)
    assert not os.path.exists(resolver.directory(machine.site))
