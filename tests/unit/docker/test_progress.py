"""docker.progress: lines where nobody watches, bars where somebody does."""

import pty

import pytest

from pyrunc.docker.progress import _measure, show_progress
from pyrunc.errors import PyruncError

PULL = [
    {"status": "Pulling from x", "id": "1"},
    {"status": "Downloading", "id": "ab", "progressDetail": {"current": 5, "total": 10}},
    {"status": "Pull complete", "id": "ab", "progressDetail": {}},
    {"aux": {"Digest": "sha256:00"}},
    {"stream": "Loaded image: x\n"},
]


def test_lines_have_no_numbers_that_grow(capfd):
    assert show_progress(PULL) == [{"Digest": "sha256:00"}]
    assert capfd.readouterr().out == "1: Pulling from x\nab: Pull complete\nLoaded image: x\n"


def test_quiet_is_quiet(capfd):
    show_progress(PULL, quiet=True)
    assert capfd.readouterr().out == ""


def test_an_error_in_the_stream_is_one(capfd):
    with pytest.raises(PyruncError, match="it failed"):
        show_progress([{"status": "begun"}, {"error": "it failed", "errorDetail": {"message": "it failed"}}])


def test_a_layer_that_is_done_is_full():
    assert _measure(PULL[1]) == {"completed": 5, "total": 10, "amount": "5B/10B"}
    assert _measure(PULL[2])["completed"] == _measure(PULL[2])["total"]
    assert _measure({"status": "Waiting", "id": "ab"}) == {}


def test_without_rich_a_terminal_has_lines(monkeypatch):
    def load(name, wanted_for):
        raise PyruncError("unsupported", "no rich")

    monkeypatch.setattr("pyrunc.docker.progress.load", load)
    outer, inner = pty.openpty()
    monkeypatch.setattr("pyrunc.docker.progress.is_terminal", lambda descriptor: True)
    show_progress(PULL, inner)
    with open(outer, "rb", buffering=0) as seen:
        assert seen.read(17) == b"1: Pulling from x"
