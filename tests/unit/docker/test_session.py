"""docker.session: where the engine is looked for."""

from __future__ import annotations

import socket

import pytest

from pyrunc.docker import session
from pyrunc.docker.session import Session
from pyrunc.errors import PyruncError

NOTHING_ASKED = {"host": (), "config": "", "data-root": "", "exec-root": "", "config-file": ""}


@pytest.fixture
def default_socket(tmp_path, monkeypatch) -> str:
    path = str(tmp_path / "s")
    monkeypatch.setattr(session, "DEFAULT_SOCKET", path)
    monkeypatch.setattr(session, "environment", {"HOME": str(tmp_path)}.get)
    return path


def test_a_daemon_that_runs_is_asked_over_one_connection(default_socket):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(default_socket)
        server.listen()
        dial = Session(NOTHING_ASKED)._find()
        first = dial()
        server.accept()[0].close()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
        second = dial()
        server.accept()[0].close()
        first.close()
        second.close()


def test_where_none_runs_the_engine_is_in_this_process(default_socket, monkeypatch):
    monkeypatch.setattr(Session, "_open_local", lambda self: "local")
    assert Session(NOTHING_ASKED)._find() == "local"
    assert Session({**NOTHING_ASKED, "data-root": "/x"})._find() == "local"


def test_one_that_may_not_be_asked_is_an_error(default_socket, monkeypatch):
    def refused(path):
        def dial():
            raise PyruncError("internal", "Cannot connect to the daemon", path, "permission denied")

        return dial

    monkeypatch.setattr(session, "dial_unix", refused)
    with pytest.raises(PyruncError, match="permission denied"):
        Session(NOTHING_ASKED)._find()


def test_a_user_without_a_daemon_is_told_what_to_do(default_socket, monkeypatch):
    monkeypatch.setattr(session.posix, "geteuid", lambda: 1000)
    with pytest.raises(PyruncError) as caught:
        Session(NOTHING_ASKED)._find()
    assert default_socket in caught.value.hint


def test_an_address_that_was_asked_for_is_the_only_one(default_socket):
    with pytest.raises(PyruncError, match="only one"):
        Session({**NOTHING_ASKED, "host": ("unix:///a", "unix:///b")})._find()
    with pytest.raises(PyruncError, match="invalid address"):
        Session({**NOTHING_ASKED, "host": ("ssh://x",)})._find()
    with pytest.raises(PyruncError, match="Cannot connect"):
        Session({**NOTHING_ASKED, "host": (f"unix://{default_socket}",)})._find()()
