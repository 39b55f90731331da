"""The rarer flags of `docker run`: what becomes of each in config.json, or the sentence that refuses it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.engine import DOCKER, IMAGE, Engine
from support.pyr import Pyr
from support.waiting import until

NONE = ("--network", "none")


@pytest.fixture
def pyr(engine: Engine) -> Pyr:
    """For words that not every docker has."""
    return Pyr(engine.root, ("-H", f"unix://{engine.socket}"))


def config_of(pyr: Pyr, *flags: str) -> dict[str, Any]:
    """As it is made at the start, whatever this kernel says of the wish."""
    id = pyr.ok("create", *NONE, *flags, IMAGE, "true").strip()
    pyr.call("start", id)
    found: dict[str, Any] = json.loads((pyr.root / f"data/containers/{id}/config.json").read_text())
    return found


@pytest.fixture(scope="module")
def disk() -> str:
    for name in sorted(os.listdir("/sys/class/block")):
        path = Path("/dev", name)
        if path.exists() and stat.S_ISBLK(path.stat().st_mode):
            return str(path)
    pytest.skip("there is no block device")


@pytest.mark.parametrize(
    ("flag", "value", "where", "wanted"),
    [
        ("--cpu-rt-period", "900000", ("cpu", "realtimePeriod"), 900000),
        ("--cpu-rt-runtime", "1000", ("cpu", "realtimeRuntime"), 1000),
        ("--cpuset-mems", "0", ("cpu", "mems"), "0"),
        ("--blkio-weight", "300", ("blockIO", "weight"), 300),
    ],
)
def test_a_limit_reaches_the_runtime(pyr, flag, value, where, wanted):
    found = config_of(pyr, flag, value)["linux"]["resources"]
    for name in where:
        found = found[name]
    assert found == wanted


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--device-read-bps", "throttleReadBpsDevice"),
        ("--device-write-bps", "throttleWriteBpsDevice"),
        ("--device-read-iops", "throttleReadIOPSDevice"),
        ("--device-write-iops", "throttleWriteIOPSDevice"),
        ("--blkio-weight-device", "weightDevice"),
    ],
)
def test_the_bounds_of_a_block_device(pyr, disk, flag, name):
    (found,) = config_of(pyr, flag, f"{disk}:500")["linux"]["resources"]["blockIO"][name]
    number = os.stat(disk).st_rdev
    assert (found.pop("major"), found.pop("minor")) == (os.major(number), os.minor(number))
    assert set(found.values()) == {500}


def test_a_bound_for_what_is_no_disk_is_an_error_and_no_silence(docker):
    """Whoever is attached by then is told as well: `run` comes back."""
    told = docker.fails("run", "--rm", *NONE, "--device-read-bps", "/dev/null:1mb", IMAGE, "true", code=125)
    assert "/dev/null is not a block device" in told
    told = docker.fails("run", "--rm", *NONE, "--device-read-bps", "/dev/none:1mb", IMAGE, "true", code=125)
    assert "No such file or directory" in told


def test_more_cpus_than_there_are(docker):
    count = os.cpu_count() or 1
    more = str(count + 1)
    told = f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
    assert told in docker.fails("run", "--rm", *NONE, "--cpus", more, IMAGE, "true", code=125)
    docker.ok("create", "--name", "box", *NONE, IMAGE)
    assert told in docker.fails("update", "--cpus", more, "box")
    docker.ok("update", "--cpus", str(count), "box")


def test_annotations(pyr):
    assert config_of(pyr, "--annotation", "a.b=c")["annotations"]["a.b"] == "c"


def test_options_of_resolv_conf(docker):
    shown = docker.ok("run", "--rm", *NONE, "--dns-opt", "ndots:3", IMAGE, "cat", "/etc/resolv.conf")
    assert "options ndots:3" in shown.splitlines()


@pytest.mark.parametrize(("flag", "alias"), [("--net", "--net-alias"), ("--network", "--network-alias")])
def test_old_names_of_the_flags_for_networks(docker, flag, alias):
    docker.ok("network", "create", "net")
    docker.ok("run", "-d", flag, "net", alias, "other", IMAGE, "sleep", "1000")
    docker.ok("run", "--rm", "--network", "net", IMAGE, "nslookup", "other")


def test_a_check_may_come_more_often_while_it_starts(pyr):
    flags = ("--health-cmd", "true", "--health-interval", "1h", "--health-start-period", "1h",
             "--health-start-interval", "100ms")  # fmt: skip
    pyr.ok("run", "-d", "--name", "box", *NONE, *flags, IMAGE, "sleep", "1000")
    form = "{{.State.Health.Status}}"
    until(lambda: pyr.ok("inspect", "-f", form, "box") == "healthy\n", "it is healthy")


@pytest.mark.parametrize("passes", [True, False])
def test_signals_are_passed_on_or_not(docker, passes):
    assert DOCKER is not None
    words = ("run", "--name", "box", *NONE, f"--sig-proxy={str(passes).lower()}", IMAGE, "sh", "-c")
    client = subprocess.Popen(
        [DOCKER, *words, "trap 'echo told' TERM; echo up; while :; do sleep 0.1; done"],
        stdout=subprocess.PIPE,
        env={"DOCKER_HOST": f"unix://{docker.socket}", "HOME": str(docker.root)},
    )
    assert client.stdout is not None
    with client.stdout:
        assert client.stdout.readline() == b"up\n"
        client.send_signal(signal.SIGTERM)
        if passes:
            assert client.stdout.readline() == b"told\n"
        else:
            docker.ok("exec", "box", "sleep", "0.5")
        client.kill()
        client.wait()
    assert ("told" in docker.ok("logs", "box")) == passes


def test_keys_of_ones_own_that_leave(engine, pyr):
    terminal = pyr.on_terminal("run", "-it", "--name", "box", *NONE, "--detach-keys", "ctrl-x,y", IMAGE, "sh")
    terminal.expect(b"# ")
    terminal.type(b"\x18y")
    assert terminal.end() == 0
    assert engine.call("GET", "/containers/box/json")["State"]["Running"]


def test_what_is_as_it_is_anyway_is_taken(docker):
    flags = ("--isolation", "default", "--volume-driver", "local", "-v", "store:/v", "--userns", "host")
    assert docker.ok("run", "--rm", *NONE, *flags, IMAGE, "echo", "run") == "run\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--isolation", "hyperv"), "isolation modes are of Windows"),
        (("--storage-opt", "size=1G"), "storage options (--storage-opt) are not supported"),
        (("--volume-driver", "nfs", "-v", "store:/v"), "volume drivers other than local are not supported"),
        (("--gpus", "all"), "device requests (--gpus, and names of CDI) are not supported"),
        (("--network", "net", "--ip6", "fd00::5"), "IPv6 and link-local addresses are not supported"),
        (("--network", "net", "--link-local-ip", "169.254.3.4"), "link-local addresses are not supported"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(docker, flags, words):
    docker.ok("network", "create", "net")
    assert words in docker.fails("run", "--rm", *flags, IMAGE, "true", code=125)
    assert docker.ok("ps", "-aq") == ""


def test_memory_swappiness_and_no_oom_killer(docker):
    found = docker.ok("create", *NONE, "--memory-swappiness", "10", "-m", "64m", "--oom-kill-disable", IMAGE)
    host = docker.inspect(found.strip())["HostConfig"]
    assert (host["MemorySwappiness"], host["OomKillDisable"], host["Memory"]) == (10, True, 64 << 20)
