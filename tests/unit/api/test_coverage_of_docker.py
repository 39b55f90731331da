"""How much of Docker's API and of `docker run` there is, counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyrunc.api.app import GROUPS
from pyrunc.api.router import Router
from pyrunc.api.routes import absent
from pyrunc.docker.runflags import CREATE_FLAGS, RUN_FLAGS

# All of API 1.51 but for swarm (and its cluster volumes' own) and plug-ins
ROUTES = """
GET /containers/json · POST /containers/create · GET /containers/x/json · GET /containers/x/top
GET /containers/x/logs · GET /containers/x/changes · GET /containers/x/export · GET /containers/x/stats
POST /containers/x/resize · POST /containers/x/start · POST /containers/x/stop · POST /containers/x/restart
POST /containers/x/kill · POST /containers/x/update · POST /containers/x/rename · POST /containers/x/pause
POST /containers/x/unpause · POST /containers/x/attach · GET /containers/x/attach/ws · POST /containers/x/wait
DELETE /containers/x · HEAD /containers/x/archive · GET /containers/x/archive · PUT /containers/x/archive
POST /containers/prune
GET /images/json · POST /images/create · GET /images/x/json · GET /images/x/history · POST /images/x/push
POST /images/x/tag · DELETE /images/x · GET /images/search · POST /images/prune · GET /images/x/get
GET /images/get · POST /images/load
POST /build · POST /build/prune · POST /commit · POST /auth · GET /info · GET /version · GET /_ping
HEAD /_ping · GET /events · GET /system/df
POST /containers/x/exec · POST /exec/x/start · POST /exec/x/resize · GET /exec/x/json
GET /volumes · POST /volumes/create · GET /volumes/x · PUT /volumes/x · DELETE /volumes/x
POST /volumes/prune
GET /networks · GET /networks/x · DELETE /networks/x · POST /networks/create · POST /networks/x/connect
POST /networks/x/disconnect · POST /networks/prune
GET /distribution/x/json · POST /session
"""
REFUSED_ROUTES = {"POST /build", "GET /containers/x/attach/ws", "PUT /volumes/x", "POST /session"}

# Docker 28's on Linux that the engine answers with an error, whatever is asked of them
REFUSED_FLAGS = {"gpus", "ip6", "link-local-ip", "storage-opt"}
# What Docker 28 has besides: of Windows, or of no effect in Docker either
NO_FLAGS = {
    "cpu-count",
    "cpu-percent",
    "disable-content-trust",
    "io-maxbandwidth",
    "io-maxiops",
    "kernel-memory",
}
OURS_ALONE = {"health-on-failure"}


@pytest.fixture(scope="module")
def routes() -> list[str]:
    return [route.strip() for route in re.split(r"[·\n]", ROUTES) if route.strip()]


def test_every_route_is_served_or_refused(routes):
    router = Router((None, group.ROUTES) for group in GROUPS)
    refusals = {function for _, _, function in absent.ROUTES}
    served, refused = set(), set()
    for route in routes:
        method, path = route.split()
        function = next(
            (each for verb, pattern, each, _ in router._routes if verb == method and pattern.fullmatch(path)),
            None,
        )
        assert function is not None, f"{route} is not known at all"
        (refused if function in refusals else served).add(route)
    assert refused == REFUSED_ROUTES
    assert (len(routes), len(served)) == (66, 62)


def test_every_flag_of_run_is_in_a_test_of_the_engine():
    """In tests/engine, where containers really run; those that are refused, too."""
    tests = Path(__file__).parents[2] / "engine"
    text = "\n".join(path.read_text() for path in tests.glob("*.py"))
    flags = [flag for flag in (*CREATE_FLAGS, *RUN_FLAGS) if flag.name not in OURS_ALONE]
    untested = [
        flag.name
        for flag in flags
        if not re.search(rf'"--{flag.name}["=]', text)
        and not (flag.short and re.search(rf'"-\w*{flag.short}\w*"', text))
    ]
    assert untested == []
    names = {flag.name for flag in flags}
    assert names > REFUSED_FLAGS
    assert not NO_FLAGS & names
    assert (len(names), len(names - REFUSED_FLAGS)) == (99, 95)
