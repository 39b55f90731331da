"""Networks and volumes, as a user of docker sees them."""

from __future__ import annotations

import json
import subprocess

import pytest
from support.engine import IMAGE
from support.waiting import until

from pyrunc.errors import INVALID, PyruncError

SERVE = ("sh", "-c", "mkdir /www; echo served > /www/index.html; exec httpd -f -h /www")


def fetch(address: str) -> str:
    done = subprocess.run(
        ["curl", "-s", "--max-time", "2", address], capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.parametrize(
    ("publish", "port"),
    [("18080:80", "18080"), ("127.0.0.1:18081:80", "18081"), ("18090-18099:80", ""), ("80", "")],
)
def test_a_published_port_is_reached(docker, publish, port):
    docker.ok("run", "-d", "--name", "web", "-p", publish, IMAGE, *SERVE)
    found = docker.ok("port", "web", "80/tcp").strip()
    if port:
        assert found.endswith(f":{port}")
    until(lambda: fetch(f"http://127.0.0.1:{found.rpartition(':')[2]}/") == "served\n", "it is served")
    docker.ok("stop", "-t", "0", "web")
    assert fetch(f"http://127.0.0.1:{found.rpartition(':')[2]}/") == ""
    docker.ok("start", "web")
    assert docker.ok("port", "web", "80/tcp")


def test_a_port_is_published_once(docker):
    docker.ok("run", "-d", "--name", "web", "-p", "18080:80", IMAGE, "sleep", "1000")
    told = docker.fails("run", "-d", "--name", "other", "-p", "18080:80", IMAGE, "sleep", "1000", code=125)
    assert "port is already allocated" in told
    assert docker.inspect("other")["State"]["Status"] == "created"


def test_names_on_a_network_of_ones_own(docker):
    docker.ok("network", "create", "--subnet", "10.77.0.0/24", "net")
    docker.ok(
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "net",
        "--network-alias",
        "alias",
        "--ip",
        "10.77.0.9",
        IMAGE,
        *SERVE,
    )
    until(
        lambda: docker.docker("exec", "web", "wget", "-q", "-O-", "http://127.0.0.1/").stdout == "served\n",
        "it serves",
    )
    for name in ("web", "alias"):
        assert (
            docker.ok("run", "--rm", "--network", "net", IMAGE, "wget", "-q", "-O-", f"http://{name}/")
            == "served\n"
        )
    network = json.loads(docker.ok("network", "inspect", "net"))[0]
    assert [one["IPv4Address"] for one in network["Containers"].values()] == ["10.77.0.9/24"]
    assert "has active endpoints" in docker.fails("network", "rm", "net")


def test_a_new_name_is_one_for_its_neighbours_too(docker):
    docker.ok("network", "create", "net")
    docker.ok("run", "-d", "--name", "old", "--network", "net", "--network-alias", "kept", IMAGE, *SERVE)
    docker.ok("rename", "old", "new")

    def finds(name: str) -> bool:
        asked = docker.docker("run", "--rm", "--network", "net", IMAGE, "nslookup", name)
        return asked.returncode == 0

    assert [finds(name) for name in ("new", "kept", "old")] == [True, True, False]
    docker.ok("restart", "-t", "0", "new")
    assert [finds(name) for name in ("new", "kept", "old")] == [True, True, False]


def test_without_icc_neighbours_are_apart_but_ports_are_published(docker):
    icc = "com.docker.network.bridge.enable_icc=false"
    docker.ok("network", "create", "-o", icc, "net")
    docker.ok("run", "-d", "--name", "web", "--network", "net", "-p", "18085:80", IMAGE, *SERVE)
    until(lambda: fetch("http://127.0.0.1:18085/") == "served\n", "it is served")
    own = docker.inspect("web")["NetworkSettings"]["Networks"]["net"]
    neighbour = ("run", "--rm", "--init", "--network", "net", IMAGE)
    assert docker.docker(*neighbour, "ping", "-c", "1", "-W", "1", "web").returncode == 1
    assert own["IPAddress"] in docker.ok(*neighbour, "nslookup", "web")
    words = ("wget", "-q", "-O-", f"http://{own['Gateway']}:18085/")
    assert docker.ok("run", "--rm", IMAGE, *words) == "served\n", "from another network by the host's port"
    assert docker.inspect("net")["Options"] == {"com.docker.network.bridge.enable_icc": "false"}


def test_a_daemon_without_icc(docker):
    """Containers that ran before it was told so are apart, too, and together again when it is not."""
    docker.ok("run", "-d", "--name", "web", "-p", "18086:80", IMAGE, *SERVE)
    until(lambda: fetch("http://127.0.0.1:18086/") == "served\n", "it is served")
    own = docker.inspect("web")["NetworkSettings"]["Networks"]["bridge"]
    docker.ok("run", "-d", "--name", "other", "--init", IMAGE, "sleep", "1000")

    def reaches(*words: str) -> bool:
        return docker.docker("exec", "other", *words).returncode == 0

    ping = ("ping", "-c", "1", "-W", "1", own["IPAddress"])
    assert reaches(*ping)
    docker.end()
    docker.start("--icc=false")
    try:
        assert not reaches(*ping)
        assert docker.docker("run", "--rm", "--init", IMAGE, *ping).returncode == 1, "nor does a new one"
        assert fetch("http://127.0.0.1:18086/") == "served\n"
        docker.ok("network", "create", "net")
        words = ("wget", "-q", "-O-", f"http://{own['Gateway']}:18086/")
        assert docker.ok("run", "--rm", "--network", "net", IMAGE, *words) == "served\n"
        assert reaches("ping", "-c", "1", "-W", "1", own["Gateway"]), "the host is no neighbour"
        options = docker.inspect("bridge")["Options"]
        assert options["com.docker.network.bridge.enable_icc"] == "false"
    finally:
        docker.end()
        docker.start()
    assert reaches(*ping)
    docker.ok("rm", "-f", "other", "web")


def test_connect_and_disconnect(docker):
    docker.ok("network", "create", "net")
    docker.ok("run", "-d", "--name", "web", IMAGE, *SERVE)
    docker.ok("network", "connect", "net", "web")
    assert sorted(docker.inspect("web")["NetworkSettings"]["Networks"]) == ["bridge", "net"]
    assert docker.ok("exec", "web", "ls", "/sys/class/net").split() == ["eth0", "eth1", "lo"]
    assert "already exists in network" in docker.fails("network", "connect", "net", "web")
    docker.ok("restart", "-t", "0", "web")
    assert docker.ok("exec", "web", "ls", "/sys/class/net").split() == ["eth0", "eth1", "lo"]
    docker.ok("network", "disconnect", "net", "web")
    assert docker.ok("exec", "web", "ls", "/sys/class/net").split() == ["eth0", "lo"]


def test_sharing_a_network(docker):
    docker.ok("run", "-d", "--name", "web", IMAGE, *SERVE)
    shared = ("--network", "container:web")
    until(
        lambda: docker.docker("exec", "web", "wget", "-q", "-O-", "http://127.0.0.1/").stdout == "served\n",
        "it serves",
    )
    assert docker.ok("run", "--rm", *shared, IMAGE, "wget", "-q", "-O-", "http://127.0.0.1/") == "served\n"


def test_predefined_networks_stay(docker):
    assert docker.ok("network", "ls", "--format", "{{.Name}} {{.Driver}}").split("\n")[:-1] == [
        "bridge bridge", "host host", "none null",
    ]  # fmt: skip
    assert "pre-defined" in docker.fails("network", "rm", "bridge")


def test_a_volume_takes_what_the_image_has_and_outlives(docker):
    docker.ok(
        "run", "--rm", "--network", "none", "-v", "vol:/data", IMAGE, "sh", "-c", "echo more > /data/own"
    )
    assert (
        docker.ok("run", "--rm", "--network", "none", "-v", "vol:/x:ro", IMAGE, "ls", "/x") == "own\nseed\n"
    )
    assert (
        docker.docker(
            "run", "--rm", "--network", "none", "-v", "vol:/x:ro", IMAGE, "touch", "/x/y"
        ).returncode
        == 1
    )
    assert docker.ok("volume", "ls", "-q") == "vol\n"
    docker.ok("create", "--name", "box", "-v", "vol:/x", IMAGE)
    assert "volume is in use" in docker.fails("volume", "rm", "vol")
    docker.ok("rm", "box")
    docker.ok("volume", "rm", "vol")


def test_anonymous_volumes_go_with_rm(docker):
    docker.ok("run", "--rm", "--network", "none", "-v", "/data", IMAGE, "true")
    assert docker.ok("volume", "ls", "-q") == ""
    docker.ok("create", "--name", "box", "-v", "/data", IMAGE)
    docker.ok("rm", "box")
    assert len(docker.ok("volume", "ls", "-q").split()) == 1


def test_a_directory_of_the_host(docker, tmp_path):
    mount = ("--mount", f"type=bind,src={tmp_path},dst=/h")
    docker.ok("run", "--rm", "--network", "none", *mount, IMAGE, "sh", "-c", "echo x > /h/f")
    assert (tmp_path / "f").read_text() == "x\n"
    docker.ok("run", "--rm", "--network", "none", "-v", f"{tmp_path}/new:/h", IMAGE, "touch", "/h/f")
    assert (tmp_path / "new" / "f").exists()
    assert (
        docker.docker(
            "run", "--rm", "--network", "none", *mount[:1], mount[1] + ",readonly", IMAGE, "touch", "/h/g"
        ).returncode
        == 1
    )


def test_volumes_of_another(docker):
    docker.ok(
        "run",
        "--name",
        "first",
        "--network",
        "none",
        "-v",
        "vol:/data",
        IMAGE,
        "sh",
        "-c",
        "echo x > /data/f",
    )
    assert (
        docker.ok("run", "--rm", "--network", "none", "--volumes-from", "first:ro", IMAGE, "cat", "/data/f")
        == "x\n"
    )


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "/etc"])
def test_a_volume_is_in_its_place(engine, name):
    with pytest.raises(PyruncError) as caught:
        engine.client.call("POST", "/volumes/create", body={"Name": name})
    assert caught.value.kind == INVALID
