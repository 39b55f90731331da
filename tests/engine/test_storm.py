"""Many containers at once, and the daemon killed in the middle: nothing lost, and at the end nothing left.

`make test-storm` has a hundred; otherwise it is as many as a suite has time for.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support.engine import CGROUP, IMAGE, TABLE, Engine
from support.facts import mounts
from support.waiting import until

from pyrunc.errors import PyruncError

COUNT = 100 if os.environ.get("PYRUNC_TEST_STORM") == "long" else 30
WORKERS = 10
SECONDS = 60
KINDS = ("none", "bridge", "published", "mesh", "brief", "stubborn")


def inventory(engine: Engine) -> dict[str, list[str]]:
    """All that a container has while it is there, asked of the kernel and of the disk."""
    root = f"{engine.root}/"
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    done = subprocess.run(["nft", "-j", "list", "table", "inet", TABLE], capture_output=True, check=False)
    rules = json.loads(done.stdout)["nftables"] if done.returncode == 0 else []
    return {
        "mounts": sorted(
            mount.target
            for mount in mounts(Path("/proc/self/mountinfo").read_text())
            if mount.target.startswith(root)
        ),
        "links": sorted(link["ifname"] for link in links),
        "nft": sorted(json.dumps(_without_handles(rule), sort_keys=True) for rule in rules),
        "cgroups": sorted(map(str, Path("/sys/fs/cgroup").glob(f"*{CGROUP}/*/"))),
        "processes": processes(root),
        "files": sorted(files(engine)),
    }


def _without_handles(value):
    if isinstance(value, dict):
        return {key: _without_handles(one) for key, one in value.items() if key not in ("handle", "metainfo")}
    if isinstance(value, list):
        return sorted(
            (_without_handles(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True)
        )
    return value


def processes(root: str) -> list[str]:
    """Ours, but for the daemon and what it keeps: shims, servers of names."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if root in words and "pyrunc.api.daemon" not in words:
                found.append(words)
    return sorted(found)


def files(engine: Engine) -> list[str]:
    """Directories of containers, snapshots, network namespaces, locks, volumes, sockets."""
    found = []
    for top in ("data/containers", "data/volumes", "data/images", "run"):
        for directory, names, plain in os.walk(engine.root / top):
            if "/rootfs" in directory or directory.endswith(("/fs", "/diff")):
                names.clear()
                continue
            found += [f"{directory}/{name}" for name in (*names, *plain)]
    return found


def play(engine: Engine, number: int, kind: str) -> None:
    """One container's life, by the API. Raises PyruncError."""
    name = f"storm-{kind}-{number}"
    host = {"NetworkMode": "none" if kind in ("none", "brief", "stubborn") else "bridge"}
    config = {"Image": IMAGE, "Cmd": ["sh", "-c", f"echo {name}; exec sleep 1000"], "HostConfig": host}
    if kind == "published":
        host["PortBindings"] = {"80/tcp": [{}], "81/tcp": [{}]}
        config["Volumes"] = {"/scratch": {}}
    elif kind == "mesh":
        host["NetworkMode"] = "mesh"
    elif kind == "brief":
        host["AutoRemove"] = True
        config["Cmd"] = ["echo", name]
    elif kind == "stubborn":
        host["RestartPolicy"] = {"Name": "always"}
        config["Cmd"] = ["sh", "-c", f"echo {name}; sleep 0.2; exit 1"]
    id = post(engine, "/containers/create", config, name=name)["Id"]
    post(engine, f"/containers/{id}/start")
    if kind == "brief":
        return
    if number % 3 == 0:
        post(engine, f"/containers/{id}/restart", t=0)
    post(engine, f"/containers/{id}/stop", t=0)
    if number % 4 == 0:
        post(engine, f"/containers/{id}/start")
    ask(engine, "DELETE", f"/containers/{id}", force=True, v=True)


def post(engine: Engine, path: str, document=None, **query):
    return ask(engine, "POST", path, document, **query)


def ask(engine: Engine, method: str, path: str, document=None, **query):
    """A daemon that is away is waited for; one that goes away in the middle is an error."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with engine.client as client:
                return client.call(method, path, query=query, body=document)
        except PyruncError as error:
            if "cannot connect" not in str(error).lower() or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def storm(engine: Engine, count: int, lived: list[int]) -> list[BaseException]:
    """What failed. `lived` gets the others, as they end."""

    def live(number: int) -> None:
        play(engine, number, KINDS[number % len(KINDS)])
        lived.append(number)

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        lives = [pool.submit(live, number) for number in range(count)]
        return [error for life in lives if (error := life.exception())]


@pytest.fixture
def still(engine):
    """An engine with a network of the user's, and what there is before anything runs."""
    post(engine, "/networks/create", {"Name": "mesh"})
    play(engine, 1, "published")  # what is made once: tables, bridges, directories
    play(engine, 1, "mesh")
    play(engine, 4, "brief")
    until(lambda: not engine.call("GET", "/containers/json", all=True), "all are gone")
    return engine, inventory(engine)


def require_same(engine: Engine, before: dict[str, list[str]]) -> None:
    def differences() -> list[str]:
        after = inventory(engine)
        return [
            f"{sign}{kind}: {item}"
            for kind, items in after.items()
            for sign, some in (("+", set(items) - set(before[kind])), ("-", set(before[kind]) - set(items)))
            for item in sorted(some)
        ]

    with contextlib.suppress(AssertionError):
        until(lambda: not differences(), "the same as before", 15)
    assert differences() == []


def test_all_have_their_lives_and_nothing_is_left(still):
    engine, before = still
    assert storm(engine, COUNT, []) == []
    until(lambda: not engine.call("GET", "/containers/json", all=True), "all are gone", 30)
    require_same(engine, before)


def test_a_daemon_that_is_killed_again_and_again_loses_nothing_and_leaves_nothing(still):
    """Calls fail while it is away, and say so; all else is as if it had never been."""
    engine, before = still
    over = threading.Event()
    failures: list[BaseException] = []
    lived: list[int] = []

    def run() -> None:
        try:
            failures.extend(storm(engine, COUNT, lived))
        finally:
            over.set()

    worker = threading.Thread(target=run)
    worker.start()
    chance = random.Random(COUNT)
    while not over.wait(chance.uniform(0.3, 1.5)):
        engine.end(signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.2))
        engine.start()
        before_it = len(lived)  # one life between two kills, however long that takes here
        until(lambda some=before_it: over.is_set() or len(lived) > some, "one lives undisturbed", 60)
    worker.join()
    assert all(isinstance(error, (PyruncError, OSError)) for error in failures), failures
    assert len(failures) + len(lived) == COUNT
    assert lived
    for one in engine.call("GET", "/containers/json", all=True):
        assert one["Names"][0].startswith("/storm-")
        if one["State"] == "running" and "stubborn" not in one["Names"][0]:
            post(engine, f"/containers/{one['Id']}/stop", t=0)
        with contextlib.suppress(PyruncError):  # --rm: gone by itself
            engine.call("DELETE", f"/containers/{one['Id']}", force=True, v=True)
    until(lambda: not engine.call("GET", "/containers/json", all=True), "all are gone", 30)
    require_same(engine, before)


def test_all_are_still_there_after_a_kill(engine):
    """As many that run at the same time; each is adopted, answers, and ends."""
    count = max(COUNT // 2, 10)

    def begin(number: int) -> str:
        config = {"Image": IMAGE, "Cmd": ["sh", "-c", f"echo {number}; exec sleep 1000"]}
        id = str(post(engine, "/containers/create", config)["Id"])
        post(engine, f"/containers/{id}/start")
        return id

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        ids = list(pool.map(begin, range(count)))
        engine.end(signal.SIGKILL)
        engine.start()
        there = {one["Id"]: one for one in engine.call("GET", "/containers/json", all=True)}
        assert set(ids) == set(there)
        assert {one["State"] for one in there.values()} == {"running"}
        addresses = [one["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] for one in there.values()]
        assert len(set(addresses)) == count
        list(pool.map(lambda id: engine.call("DELETE", f"/containers/{id}", force=True), ids))
    assert engine.call("GET", "/containers/json", all=True) == []
