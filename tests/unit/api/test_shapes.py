"""api.shapes, human, call: what clients read, and how they are read."""

from __future__ import annotations

import base64

import pytest

from pyrunc.api import human, shapes
from pyrunc.api.call import Call, frame
from pyrunc.api.client import parse_address
from pyrunc.api.http1 import Request
from pyrunc.engine.model import Container
from pyrunc.engine.state import State
from pyrunc.errors import PyruncError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
        (125, "2 minutes"),
        (3600, "About an hour"), (7200, "2 hours"), (47 * 3600, "47 hours"), (3 * 86400, "3 days"),
        (15 * 86400, "2 weeks"), (70 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert human.duration(seconds) == text


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (State(), "Created"),
        (State(status="running"), "Up 5 seconds"),
        (State(status="running", health={"Status": "healthy"}), "Up 5 seconds (healthy)"),
        (State(status="running", health={"Status": "starting"}), "Up 5 seconds (health: starting)"),
        (State(status="paused"), "Up 5 seconds (Paused)"),
        (State(status="exited", exit_code=3), "Exited (3) 5 seconds ago"),
        (State(status="restarting", exit_code=1), "Restarting (1) 5 seconds ago"),
        (State(status="removing"), "Removal In Progress"),
    ],
)
def test_status_lines(state, line):
    assert shapes.status_line(state, 0, 105.0, lambda _: 100.0) == line


def test_ports_are_told_twice_in_two_shapes():
    class Port:
        container_port, protocol, host_address, host_port = 80, "tcp", "0.0.0.0", 8080

    class Endpoint:
        ports = (Port,)

    box = Container(
        id="0", name="n", created_ns=0, image="", image_id="", config={"ExposedPorts": {"81/udp": {}}},
        host={"PortBindings": {"80/tcp": [{}]}},
    )  # fmt: skip
    assert shapes.ports_map(box, [(None, Endpoint)]) == {
        "81/udp": None, "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
    }  # fmt: skip
    assert shapes.ports_list(box, [(None, Endpoint)]) == [
        {"PrivatePort": 81, "Type": "udp"},
        {"IP": "0.0.0.0", "PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"},
    ]


def call(query: str = "", headers=(), version=(1, 51)) -> Call:
    return Call(Request(method="GET", target="/", headers=headers), {}, query, version, None, -1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "is_set"),
    [
        ("1", True),
        ("true", True),
        ("anything", True),
        ("0", False),
        ("False", False),
        ("", False),
        ("no", False),
    ],
)
def test_switches(text, is_set):
    assert call(f"x={text}").is_set("x") is is_set
    assert call().is_set("x", True)


def test_filters_in_both_shapes():
    for text in ('{"a":{"x":true,"y":false}}', '{"a":["x"]}'):
        assert call(f"filters={text}").filters(("a",)) == {"a": ("x",)}
    for text in ('{"b":["x"]}', '{"a":"x"}', '{"a":[1]}', "[1]"):
        with pytest.raises(PyruncError):
            call(f"filters={text}").filters(("a",))


def test_credentials_in_both_alphabets():
    document = '{"username":"ü?>"}'.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        headers = (("x-registry-auth", encode(document).decode().rstrip("=")),)
        if b"/" not in encode(document) and b"+" not in encode(document):
            assert call(headers=headers).header_document("x-registry-auth") == {"username": "ü?>"}
    with pytest.raises(PyruncError):
        call(headers=(("x-registry-auth", "!!"),)).header_document("x-registry-auth")


def test_the_type_of_streams_depends_on_the_version():
    assert call().stream_type(False).endswith("multiplexed-stream")
    assert call().stream_type(True).endswith("raw-stream")
    assert call(version=(1, 41)).stream_type(False).endswith("raw-stream")
    assert frame(2, b"ab") == b"\2\0\0\0\0\0\0\2ab"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("unix:///a/b", ("unix", "/a/b", 0)),
        ("tcp://1.2.3.4:5", ("tcp", "1.2.3.4", 5)),
        ("tcp://[::1]:5", ("tcp", "::1", 5)),
    ],
)
def test_addresses(text, found):
    assert parse_address(text) == found


@pytest.mark.parametrize("text", ["", "unix://a", "tcp://1.2.3.4", "tcp://:5", "http://x:1", "tcp://x:99999"])
def test_addresses_that_are_none(text):
    with pytest.raises(PyruncError):
        parse_address(text)
