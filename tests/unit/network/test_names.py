"""network.names: messages in, messages out."""

from __future__ import annotations

import struct

import pytest
from dnslib import QTYPE, RCODE, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.network import names

ZONE = names.zone(
    {
        "name": "mine", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1",
        "endpoints": {
            "e1": {"names": ["web", "0123456789ab", "Front"], "address": "10.0.0.2"},
            "e2": {"names": ["web2", "front"], "address": "10.0.0.3"},
        },
    }
)  # fmt: skip


def ask(name: str, kind: str = "A", turn: int = 0, limit: int = 65535) -> DNSRecord | None:
    """By way of a library that others trust: it makes the question and reads the answer."""
    message = DNSRecord(q=DNSQuestion(name, getattr(QTYPE, kind))).pack()
    answer = names.resolve(names.parse_question(message), [ZONE], {"only.mine": "10.9.9.9"}, limit, turn)
    return None if answer is None else DNSRecord.parse(answer)


def data(answer: DNSRecord | None) -> list[str]:
    assert answer is not None
    return [str(record.rdata) for record in answer.rr]


def test_what_is_known_is_answered():
    assert data(ask("web")) == data(ask("WEB.")) == data(ask("web.mine")) == ["10.0.0.2"]
    assert data(ask("only.mine")) == ["10.9.9.9"]
    assert data(ask("host.docker.internal")) == ["10.0.0.1"]
    assert data(ask("2.0.0.10.in-addr.arpa", "PTR")) == ["web.mine."]


def test_a_name_of_several_is_shared_among_them():
    assert data(ask("front", turn=0)) == ["10.0.0.2", "10.0.0.3"]
    assert data(ask("front", turn=1)) == ["10.0.0.3", "10.0.0.2"]


@pytest.mark.parametrize("kind", ["AAAA", "MX", "TXT", "SRV", "HTTPS"])
def test_what_a_container_has_not_is_told_at_once(kind: str):
    answer = ask("web", kind)
    assert answer is not None
    assert (answer.header.rcode, data(answer)) == (RCODE.NOERROR, [])


def test_what_nobody_outside_can_know_is_not_asked_there():
    for name, kind in (("nobody", "A"), ("nobody", "AAAA"), ("77.0.0.10.in-addr.arpa", "PTR")):
        answer = ask(name, kind)
        assert answer is not None
        assert answer.header.rcode == RCODE.NXDOMAIN
    for name, kind in (
        ("example.org", "A"),
        ("1.1.1.1.in-addr.arpa", "PTR"),
        ("x.in-addr.arpa", "PTR"),
        (".", "NS"),
    ):
        assert ask(name, kind) is None, name


def test_an_answer_that_is_too_long_asks_for_tcp():
    many = {f"e{n}": {"names": ["many"], "address": f"10.0.0.{n}"} for n in range(1, 100)}
    zone = names.zone({"name": "n", "subnet": "10.0.0.0/24", "gateway": "", "endpoints": many})
    question = names.parse_question(DNSRecord.question("many").pack())

    short = DNSRecord.parse(names.resolve(question, [zone], {}, names.UDP_BYTES) or b"")
    whole = DNSRecord.parse(names.resolve(question, [zone], {}) or b"")

    assert (short.header.tc, len(short.rr)) == (1, 0)
    assert (whole.header.tc, len(whole.rr)) == (0, 99)


def test_other_operations_are_not_for_us():
    message = bytearray(DNSRecord.question("web").pack())
    message[2] |= 5 << 3  # UPDATE
    answer = names.resolve(names.parse_question(bytes(message)), [ZONE], {})
    assert DNSRecord.parse(answer or b"").header.rcode == RCODE.NOTIMP


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(message: bytes):
    try:
        question = names.parse_question(message)
    except ValueError:
        answer = names.failure(message, names.FORMAT_ERROR)
        assert answer == b"" or (answer[:2] == message[:2] and answer[2] & 0x80)
    else:
        answer = names.resolve(question, [ZONE], {}, names.UDP_BYTES) or b""
        assert len(answer) <= names.UDP_BYTES
        assert not answer or answer[:2] == message[:2]


@given(st.binary(max_size=300), st.sampled_from([1, 12, 28, 255]))
def test_any_name_that_is_read_can_be_answered(tail: bytes, kind: int):
    message = struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + tail + b"\0" + struct.pack("!HH", kind, 1)
    try:
        question = names.parse_question(message)
    except ValueError:
        return
    names.resolve(question, [ZONE], {})


def test_answers_do_not_answer_answers():
    """Two servers would do it for ever."""
    answer = DNSRecord.question("web").reply().pack()
    with pytest.raises(ValueError, match="answer"):
        names.parse_question(answer)
    assert names.failure(answer, names.FORMAT_ERROR) == b""


def test_only_the_answer_to_what_was_asked_is_taken():
    asked = DNSRecord.question("example.org").pack()
    section = names.parse_question(asked).section
    fine = DNSRecord.question("EXAMPLE.org").reply().pack()
    assert names.is_answer_to(asked[:2] + fine[2:], asked[:2], section)
    other = DNSRecord.question("example.com").reply().pack()
    assert not names.is_answer_to(asked[:2] + other[2:], asked[:2], section)
    assert not names.is_answer_to(b"\0\0" + fine[2:], b"\0\1", section)
    assert not names.is_answer_to(asked, asked[:2], section), "a question is no answer"
    assert not names.is_answer_to(b"", b"", section)


def test_names_that_dns_cannot_say_break_nothing():
    long = "x" * 64
    zone = names.zone({
        "name": "m", "subnet": "10.0.0.0/24", "gateway": "",
        "endpoints": {"e": {"names": [long], "address": "10.0.0.2"}},
    })  # fmt: skip
    question = names.parse_question(DNSRecord(q=DNSQuestion("2.0.0.10.in-addr.arpa", QTYPE.PTR)).pack())
    assert DNSRecord.parse(names.resolve(question, [zone], {}) or b"").rr == []


def test_resolv_conf():
    text = "# x\nnameserver 192.0.2.1\n nameserver 192.0.2.2 # y\nsearch a b\nnameserver ::1\nnameserver\n"
    assert names.parse_resolv_conf(text) == ("192.0.2.1", "192.0.2.2")
