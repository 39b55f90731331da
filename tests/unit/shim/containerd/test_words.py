"""shim.containerd: its command line, the names of streams, and where a shim listens."""

import pytest

from pyrunc.errors import PyruncError
from pyrunc.shim.containerd.events import make_event
from pyrunc.shim.containerd.main import Words, parse_words, socket_path
from pyrunc.shim.containerd.streams import parse_binary


def test_gos_way_of_flags():
    given = parse_words(["-namespace", "n", "--id=x", "-debug", "-publish-binary", "/b", "start"])
    assert given == Words(verb="start", namespace="n", id="x", debug=True, publish_binary="/b")
    assert parse_words(["-debug=false"]).debug is False
    assert parse_words([]) == Words()


@pytest.mark.parametrize("words", [["-odd"], ["-id"], ["a", "b"]])
def test_words_that_are_none(words):
    with pytest.raises(PyruncError):
        parse_words(words)


def test_each_group_listens_elsewhere():
    paths = {socket_path(a, n, g) for a in ("/a", "/b") for n in ("x", "y") for g in ("1", "2")}
    assert len(paths) == 8
    assert socket_path("/a", "xy", "z") != socket_path("/a", "x", "yz")
    assert all(len(path) < 100 for path in paths)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/bin/log", ("/bin/log", ())),
        ("/bin/log?a=b&c&d=", ("/bin/log", ("a", "b", "c", "d"))),
        ("/bin/my%20log?x=%2Fy+z&%zz=100%", ("/bin/my log", ("x", "/y z", "%zz", "100%"))),
    ],
)
def test_a_logging_program(text, found):
    assert parse_binary(text) == found


def test_a_logging_program_is_named_outright():
    with pytest.raises(PyruncError, match="absolute"):
        parse_binary("log")


def test_an_event():
    made = make_event("TaskOOM", "ns", {"container_id": "box"}, 1_000_000_001)
    assert made.topic == "/tasks/oom"
    assert b"containerd.events.TaskOOM" in made.wrapped and b"box" in made.wrapped
    assert made.wrapped in made.envelope and b"ns" in made.envelope
