"""engine: users, names, /etc files, states, statistics, moments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.engine import etcfiles, names
from pyrunc.engine.logs import parse_moment
from pyrunc.engine.model import Container
from pyrunc.engine.observer import parse_ps
from pyrunc.engine.spec.facts import User
from pyrunc.engine.state import make_state
from pyrunc.engine.statistics import make_stats
from pyrunc.engine.users import parse_user
from pyrunc.errors import PyruncError

PASSWD = "root:x:0:0::/:/bin/sh\n# no\nbroken\nbob:x:1000:100::/:/bin/sh\n+::::::\nmad:x:x:y:::\n"
GROUP = "root:x:0:\nusers:x:100:\nwheel:x:10:root,bob\n"


@pytest.mark.parametrize(
    ("text", "added", "found"),
    [
        ("", (), User(groups=(0,))),
        ("bob", (), User(uid=1000, gid=100, groups=(100, 10))),
        ("1000", (), User(uid=1000, gid=100, groups=(100, 10))),
        ("7", (), User(uid=7, groups=(0,))),
        ("7:8", (), User(uid=7, gid=8, groups=(8,))),
        ("bob:wheel", ("5",), User(uid=1000, gid=10, groups=(10, 5))),
        ("bob:", ("users",), User(uid=1000, gid=100, groups=(100, 10))),
    ],
)
def test_users(text, added, found):
    got = parse_user(text, added, PASSWD, GROUP)
    assert got == found if text else got.uid == 0


@pytest.mark.parametrize("text", ["nobody", "mad", "bob:nothing", "4294967296", "0:99999999999999"])
def test_users_that_are_none(text):
    with pytest.raises(PyruncError):
        parse_user(text, (), PASSWD, GROUP)


@given(st.text(max_size=20), st.text(max_size=200), st.text(max_size=200))
def test_any_passwd_is_a_user_or_refused(text, passwd, group):
    try:
        found = parse_user(text, (), passwd, group)
    except PyruncError:
        return
    assert 0 <= found.uid < 1 << 31


@pytest.mark.parametrize("name", ["a", "-a", "a b", "a/b", "", "ä1", "a\n"])
def test_names_that_are_none(name):
    with pytest.raises(PyruncError):
        names.require_name(name)


def test_names():
    assert names.require_name("/a.b-c_1") == "a.b-c_1"
    assert names.require_name(names.random_name(3))


def test_hosts():
    text = etcfiles.make_hosts(
        own=["10.0.0.2"],
        names="web.x web",
        extra=["far:1.2.3.4", "gw=host-gateway", "v6:[::1]"],
        gateway="10.0.0.1",
    )
    assert "1.2.3.4\tfar\n10.0.0.1\tgw\n::1\tv6\n10.0.0.2\tweb.x web\n" in text
    with pytest.raises(PyruncError):
        etcfiles.make_hosts(own=(), names="", extra=["bad"], gateway="")


@pytest.mark.parametrize(
    ("host", "options", "text"),
    [
        ("nameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a b\n", {}, "nameserver 9.9.9.9\nsearch a b\n"),
        ("nameserver 127.0.0.53\n", {}, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ("nameserver 127.0.0.53\n", {"is_host_network": True}, "nameserver 127.0.0.53\n"),
        ("search a\n", {"servers": ["1.1.1.1"], "search": ["."]}, "nameserver 1.1.1.1\n"),
        ("nameserver 9.9.9.9\n", {"embedded": "127.0.0.11"}, "nameserver 127.0.0.11\noptions ndots:0\n"),
    ],
)
def test_resolv(host, options, text):
    given = {"servers": (), "search": (), "options": (), **options}
    assert etcfiles.make_resolv(host, **given) == text


def box(**changes) -> Container:
    return Container(id="0", name="n", created_ns=0, image="", image_id="", config={}, host={}, **changes)


@pytest.mark.parametrize(
    ("status", "word", "runs"),
    [
        ("created", "created", False),
        ("running", "running", True),
        ("paused", "paused", True),
        ("restarting", "restarting", True),
        ("stopped", "exited", False),
    ],
)
def test_states(status, word, runs):
    state = make_state(box(), {"status": status, "pid": 7, "exit_code": 3})
    assert (state.status, state.is_running) == (word, runs)
    assert state.pid == (7 if status in ("running", "paused") else 0)


def test_a_start_that_failed_is_remembered():
    state = make_state(box(error="why", error_code=127), None)
    assert (state.status, state.error, state.exit_code) == ("created", "why", 127)
    assert make_state(box(is_removing=True), None).status == "removing"


def test_ps_is_filtered_by_pid():
    text = "UID PID CMD\nroot 1 init\nbob 22 sh -c  x y\n"
    assert parse_ps(text, {22}) == (["UID", "PID", "CMD"], [["bob", "22", "sh -c  x y"]])
    with pytest.raises(PyruncError):
        parse_ps("A B\n", {1})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", 0),
        ("5", 5_000_000_000),
        ("5.000000007", 5_000_000_007),
        ("1970-01-01T00:00:01+00:00", 1_000_000_000),
    ],
)
def test_moments(text, moment):
    assert parse_moment(text) == moment


def test_a_moment_that_is_none():
    with pytest.raises(PyruncError):
        parse_moment("yesterday")


def test_statistics_have_dockers_names():
    sample = {
        "read": "t", "system_ns": 50, "networks": {},
        "data": {
            "cpu": {"usage": {"total": 7}}, "memory": {"usage": {"usage": 3, "limit": 1 << 62}},
            "pids": {"current": 2},
        },
    }  # fmt: skip
    made = make_stats(None, sample, cpus=2, memory=100)
    assert made["cpu_stats"]["cpu_usage"]["total_usage"] == 7
    assert (made["cpu_stats"]["system_cpu_usage"], made["cpu_stats"]["online_cpus"]) == (50, 2)
    assert (made["memory_stats"]["limit"], made["pids_stats"]) == (100, {"current": 2})
    assert "system_cpu_usage" not in made["precpu_stats"]
    assert make_stats(None, None, cpus=2, memory=1)["memory_stats"] == {}
