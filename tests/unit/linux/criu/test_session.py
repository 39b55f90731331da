"""linux.criu.session: conversations with programs that play criu, and its log."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pyrunc.errors import INTERNAL, UNSUPPORTED, PyruncError
from pyrunc.linux.criu import rpc, session

# Speaks the first lines of what it is given: (answer, what it wants to hear after it)
_ACTOR = """#!{python} -ISE
import os, socket, sys
sys.path.insert(0, {checkout!r})
from pyrunc.linux.criu import rpc
assert sys.argv[1] == "swrk"
wire = socket.socket(fileno=int(sys.argv[2]))
print(rpc.decode(rpc.REQUEST, wire.recv(4096)), file=open({heard!r}, "a"))
for answer in {answers!r}:
    wire.send(rpc.encode(rpc.RESPONSE, answer))
    if answer["type"] == rpc.NOTIFY:
        print(rpc.decode(rpc.REQUEST, wire.recv(4096)), file=open({heard!r}, "a"))
"""
_DONE = {"type": rpc.DUMP, "success": True}


def _notice(script: str) -> dict[str, object]:
    return {"type": rpc.NOTIFY, "success": True, "notify": {"script": script, "pid": 9}}


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Puts a criu of our own into PATH, and returns what it hears."""

    def put(*answers):
        heard = tmp_path / "heard"
        checkout = str(Path(__file__).resolve().parents[4])
        text = _ACTOR.format(python=sys.executable, checkout=checkout, heard=str(heard), answers=answers)
        (tmp_path / "criu").write_text(text)
        (tmp_path / "criu").chmod(0o755)
        return heard

    monkeypatch.setattr(session.posix, "environ", {b"PATH": str(tmp_path).encode()})
    return put


@pytest.fixture
def open_session():
    made = []

    def start():
        made.append(session.Session())
        return made[-1]

    yield start
    for item in made:
        item.close()


def test_what_is_asked_and_answered(play, open_session):
    heard = play(_DONE)
    assert open_session().ask(rpc.DUMP, opts={"pid": 5}) == _DONE
    assert heard.read_text() == "{'type': 1, 'opts': {'pid': 5}}\n"


def test_notices_are_passed_on_and_answered(play, open_session):
    heard = play(_notice("pre-dump"), _notice("post-dump"), _DONE)
    seen = []
    open_session().ask(rpc.DUMP, lambda *what: seen.append(what))
    assert seen == [("pre-dump", 9, ()), ("post-dump", 9, ())]
    assert heard.read_text().splitlines()[1:] == ["{'type': 6, 'notify_success': True}"] * 2


def test_a_failure_of_ours_is_told_to_criu_and_raised_when_it_has_given_up(play, open_session):
    heard = play(_notice("one"), _notice("two"), {"type": rpc.NOTIFY, "success": False})
    seen = []

    def fail(script, _pid, _fds):
        seen.append(script)
        raise PyruncError(INTERNAL, "a hook said no")

    with pytest.raises(PyruncError, match="a hook said no"):
        open_session().ask(rpc.RESTORE, fail)
    assert seen == ["one"]
    assert heard.read_text().splitlines()[1:] == ["{'type': 6, 'notify_success': False}"] * 2


def test_a_refusal_says_what_and_why(play, open_session):
    play({"type": rpc.DUMP, "success": False, "cr_errno": 3, "cr_errmsg": "no such process"})
    with pytest.raises(PyruncError, match="criu failed: type DUMP errno 3: no such process"):
        open_session().ask(rpc.DUMP)


def test_one_that_dies_without_a_word(play, open_session):
    play()
    with pytest.raises(PyruncError, match="type RESTORE: it ended without an answer"):
        open_session().ask(rpc.RESTORE)


def test_nothing_is_left_of_a_session(play):
    play(_DONE)
    before = os.listdir("/proc/self/fd")
    one = session.Session()
    one.ask(rpc.DUMP)
    one.close()
    one.close()
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ProcessLookupError):
        os.kill(one.pid or 1 << 30, 0)


@pytest.mark.parametrize("says", [True, False])
def test_a_feature(play, says):
    heard = play({"type": rpc.FEATURE_CHECK, "success": True, "features": {"mem_track": says}})
    assert session.has_feature("mem_track") is says
    assert heard.read_text() == "{'type': 9, 'features': {'mem_track': True}}\n"


def test_without_criu(monkeypatch):
    monkeypatch.setattr(session, "_PATH", "/nowhere")
    monkeypatch.setattr(session.posix, "environ", {b"PATH": b""})
    with pytest.raises(PyruncError, match="criu was not found") as caught:
        session.require_criu()
    assert caught.value.kind == UNSUPPORTED


_LOG = """(00.000100) Version: 3.17.1 (gitid 0)
(00.000200) Warn  (criu/x.c:1): Errors may follow
""" + "".join(f"(00.00030{n}) Error (criu/files.c:{n}): line {n}\n" for n in range(7))


def test_the_last_errors_of_a_log(tmp_path):
    assert session.excerpt(_LOG) == "; ".join(f"Error (criu/files.c:{n}): line {n}" for n in range(2, 7))
    path = tmp_path / "dump.log"
    path.write_text(_LOG)
    error = session.explain_by_log(PyruncError(INTERNAL, "criu failed"), str(path))
    assert str(error).startswith(f"criu failed: log file: {path}: Error (criu/files.c:2)")


def test_a_log_that_was_never_begun_explains_nothing(tmp_path):
    error = PyruncError(INTERNAL, "criu failed")
    assert session.explain_by_log(error, str(tmp_path / "none")) is error
