"""docker-py, unchanged: what its users call, and what they get back."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
from collections.abc import Iterator

import pytest
from support.engine import IMAGE, rootfs_tar
from support.registry import needs_registry, running_registry
from support.waiting import until

docker = pytest.importorskip("docker", reason="docker-py is not installed")
errors = pytest.importorskip("docker.errors")
types = pytest.importorskip("docker.types")
SECONDS = 60


@pytest.fixture
def client(engine) -> Iterator:
    made = docker.DockerClient(base_url=f"unix://{engine.socket}", timeout=SECONDS)
    yield made
    made.close()


def tar_of(**files: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


def idle(client, **more):
    return client.containers.run(IMAGE, "sleep 1000", detach=True, network_mode="none", **more)


# --- the daemon ---------------------------------------------------------------------------------------------


def test_the_version_is_negotiated(engine):
    made = docker.DockerClient(base_url=f"unix://{engine.socket}", version="auto")
    assert made.api.api_version == "1.51"
    assert made.ping() is True
    old = docker.DockerClient(base_url=f"unix://{engine.socket}", version="1.24")
    assert old.version()["MinAPIVersion"] == "1.24"
    assert old.containers.list(all=True) == []
    made.close()
    old.close()


def test_info_and_disk_usage(client):
    container = idle(client)
    assert client.info()["ContainersRunning"] == 1
    usage = client.df()
    assert [one["Id"] for one in usage["Containers"]] == [container.id]
    assert usage["LayersSize"] > 500_000
    assert any(f"{IMAGE}:latest" in one["RepoTags"] for one in usage["Images"])


# --- containers ---------------------------------------------------------------------------------------------


def test_run_returns_what_was_printed(client):
    assert client.containers.run(IMAGE, "echo hello", remove=True) == b"hello\n"
    assert (
        client.containers.run(IMAGE, ["sh", "-c", "echo $A"], environment={"A": "b"}, remove=True) == b"b\n"
    )
    lines = client.containers.run(IMAGE, ["sh", "-c", "echo 1; echo 2"], remove=True, stream=True)
    assert b"".join(lines) == b"1\n2\n"


def test_run_raises_what_failed(client):
    with pytest.raises(errors.ContainerError) as raised:
        client.containers.run(IMAGE, ["sh", "-c", "echo sorry >&2; exit 3"], remove=True)
    assert raised.value.exit_status == 3
    assert b"sorry" in raised.value.stderr
    with pytest.raises(errors.ImageNotFound):
        client.containers.create("127.0.0.1:1/nothing")
    with pytest.raises(errors.APIError, match="executable file not found"):
        client.containers.run(IMAGE, "no-such-program")
    with pytest.raises(errors.NotFound):
        client.containers.get("none-such")


FACTS = "id -u; pwd; hostname; ls /data; ulimit -n; cat /proc/sys/net/ipv4/ip_default_ttl"


def test_run_with_many_options(client):
    container = client.containers.run(
        IMAGE, ["sh", "-c", f"{FACTS}; sleep 1000"],
        detach=True, user="1000", working_dir="/tmp", hostname="box", name="many", labels={"a": "b"},
        mem_limit="64m", nano_cpus=500_000_000, pids_limit=20, cap_drop=["ALL"], read_only=True,
        tmpfs={"/t": "size=1m"}, volumes={"store": {"bind": "/data", "mode": "rw"}}, init=True,
        ulimits=[types.Ulimit(name="nofile", soft=99, hard=100)], sysctls={"net.ipv4.ip_default_ttl": "77"},
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, ports={"80/tcp": None},
        security_opt=["no-new-privileges"], extra_hosts={"far": "10.1.2.3"}, shm_size="1m",
        log_config=types.LogConfig(type="json-file", config={"max-size": "1m"}),
        healthcheck={"test": ["CMD", "true"], "interval": 200_000_000},
    )  # fmt: skip
    until(lambda: container.logs().count(b"\n") == 6, "it has said all")
    assert container.logs(stderr=False).split() == [b"1000", b"/tmp", b"box", b"seed", b"99", b"77"]
    until(lambda: client.containers.get("many").health == "healthy", "it is well")
    container.reload()
    assert container.status == "running"
    assert container.labels["a"] == "b"
    assert int(container.ports["80/tcp"][0]["HostPort"]) > 1023
    container.update(mem_limit="32m", memswap_limit="64m")
    container.rename("other")
    container.restart(timeout=0)
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] in (137, 143)
    container.remove()
    client.volumes.get("store").remove()


def test_logs_follow_until_the_end(client):
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.1; done"
    container = client.containers.run(IMAGE, ["sh", "-c", script], detach=True)
    assert b"".join(container.logs(stream=True, follow=True, stderr=False)) == b"out 1\nout 2\nout 3\n"
    assert container.logs(stdout=False) == b"err 1\nerr 2\nerr 3\n"
    assert container.logs(tail=1) in (b"out 3\n", b"err 3\n")
    assert container.logs(timestamps=True).splitlines()[0][:2] == b"20"
    assert container.logs(since=4_000_000_000) == b""


def test_attach_as_a_stream(client):
    container = client.containers.create(IMAGE, ["sh", "-c", "sleep 0.3; echo one; echo two >&2"])
    stream = container.attach(stream=True, demux=True)
    container.start()
    seen = list(stream)
    assert b"".join(out for out, _ in seen if out) == b"one\n"
    assert b"".join(err for _, err in seen if err) == b"two\n"


def test_attach_as_a_socket(client):
    container = client.containers.create(IMAGE, "cat", stdin_open=True)
    attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    raw = attached._sock
    raw.settimeout(SECONDS)
    raw.sendall(b"through\n")
    got = b""
    while len(got) < 16:
        got += raw.recv(100)
    assert got == b"\x01\0\0\0\0\0\0\x08through\n"
    raw.shutdown(socket.SHUT_WR)
    assert raw.recv(100) == b""
    attached.close()
    assert container.wait() == {"StatusCode": 0}


def test_a_terminal_with_detach_keys(client):
    container = client.containers.run(IMAGE, "sh", tty=True, stdin_open=True, detach=True)
    params = {"stdin": 1, "stdout": 1, "stream": 1, "detachKeys": "ctrl-x"}
    attached = container.attach_socket(params=params)
    raw = attached._sock
    raw.settimeout(SECONDS)
    raw.sendall(b"\x18")
    until(lambda: raw.recv(1000) == b"", "it is let go")
    container.reload()
    assert container.status == "running"
    container.resize(40, 90)
    assert container.exec_run(["sh", "-c", "stty size < /proc/1/fd/0"]).output == b"40 90\n"
    attached.close()


def test_exec(client):
    container = idle(client)
    done = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 5"], demux=True)
    assert (done.exit_code, done.output) == (5, (b"out\n", b"err\n"))
    assert container.exec_run("pwd", workdir="/tmp").output == b"/tmp\n"
    assert container.exec_run("id -u", user="1000").output == b"1000\n"
    assert container.exec_run(["sh", "-c", "echo $A"], environment=["A=b"]).output == b"b\n"
    assert b"".join(container.exec_run(["sh", "-c", "echo 1; echo 2"], stream=True).output) == b"1\n2\n"
    assert container.exec_run("tty", tty=True).output == b"/dev/pts/0\r\n"
    assert container.exec_run("sleep 1000", detach=True).exit_code is None
    for _ in range(20):  # an answer that comes at once comes whole
        missing = container.exec_run("id", user="nosuch")
        assert (missing.exit_code, b"unable to find user nosuch" in missing.output) == (126, True)
    missing = container.exec_run("no-such-program")
    assert missing.exit_code == 127 or b"not found" in missing.output


def test_exec_by_a_socket(client):
    container = idle(client)
    attached = container.exec_run("cat", stdin=True, socket=True).output
    raw = attached._sock
    raw.settimeout(SECONDS)
    raw.sendall(b"word")
    got = b""
    while len(got) < 12:
        got += raw.recv(100)
    assert got == b"\x01\0\0\0\0\0\0\x04word"
    raw.shutdown(socket.SHUT_WR)
    assert raw.recv(10) == b""
    attached.close()


def test_wait_has_conditions(client):
    # It ends again and again, for nobody knows when the daemon has heard who waits.
    command = ["sh", "-c", "sleep 0.2; exit 4"]
    container = client.containers.create(IMAGE, command, restart_policy={"Name": "on-failure"})
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(container.wait(condition="next-exit")))
    waiting.start()
    container.start()
    waiting.join(SECONDS)
    assert answers == [{"StatusCode": 4}]
    container.remove(force=True)
    ended = client.containers.run(IMAGE, command, detach=True)
    assert ended.wait() == {"StatusCode": 4}
    assert ended.wait() == {"StatusCode": 4}
    running = idle(client)
    with pytest.raises(Exception, match=r"[Tt]imed out"):
        running.wait(timeout=1)


def test_events(client):
    since = client.api.info()["SystemTime"]
    assert since
    seen = []
    stream = client.events(decode=True, filters={"type": "container"})

    def listen():
        for event in stream:
            seen.append(event)
            if event["Action"] == "destroy":
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    client.containers.run(IMAGE, ["sh", "-c", "exit 3"], name="told", detach=True, network_mode="none").wait()
    client.containers.get("told").remove()
    listener.join(SECONDS)
    stream.close()
    assert [event["Action"] for event in seen] == ["create", "start", "die", "destroy"]
    assert {event["status"] for event in seen} == {"create", "start", "die", "destroy"}
    died = seen[2]
    assert died["Actor"]["Attributes"]["exitCode"] == "3"
    assert died["Actor"]["Attributes"]["name"] == "told"
    assert died["timeNano"] // 10**9 == died["time"]


def test_stats_top_and_changes(client):
    container = client.containers.run(
        IMAGE, ["sh", "-c", "echo x > /new; rm /data/seed; sleep 1000"], detach=True
    )
    until(lambda: container.diff() and len(container.diff()) >= 3, "it has written")
    assert {"Path": "/new", "Kind": 1} in container.diff()
    assert {"Path": "/data/seed", "Kind": 2} in container.diff()
    once = container.stats(stream=False)
    assert once["memory_stats"]["usage"] > 0
    assert once["pids_stats"]["current"] >= 1
    assert once["cpu_stats"]["system_cpu_usage"] > once["precpu_stats"]["system_cpu_usage"]
    assert "eth0" in once["networks"]
    many = container.stats(decode=True, stream=True)
    assert next(many)["id"] == next(many)["id"] == container.id
    many.close()
    top = container.top()
    assert "PID" in top["Titles"]
    assert any("sleep 1000" in " ".join(row) for row in top["Processes"])


def test_archives_in_and_out(client):
    container = client.containers.create(IMAGE, "cat /tmp/in/there")
    assert container.put_archive("/tmp", tar_of(**{"in/there": "carried"}))
    pieces, stat = container.get_archive("/tmp/in")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert tar.extractfile("in/there").read() == b"carried"
    assert stat["name"] == "in"
    assert stat["mode"] & 1 << 31  # Go's bit of a directory
    with pytest.raises(errors.NotFound):
        container.get_archive("/none")
    container.start()
    container.wait()
    assert container.logs() == b"carried"
    with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as tar:
        assert "tmp/in/there" in tar.getnames()


def test_lists_and_filters(client):
    one, two = idle(client, labels={"k": "v"}), client.containers.create(IMAGE, "true")
    assert client.containers.list() == [one]
    assert set(client.containers.list(all=True)) == {one, two}
    assert client.containers.list(all=True, filters={"status": "created"}) == [two]
    assert client.containers.list(filters={"label": ["k=v"]}) == [one]
    assert client.containers.list(all=True, filters={"ancestor": IMAGE, "label": "k=w"}) == []
    with pytest.raises(errors.APIError, match="invalid filter"):
        client.containers.list(filters={"nonsense": "x"})
    assert client.containers.prune()["ContainersDeleted"] == [two.id]


# --- images -------------------------------------------------------------------------------------------------


def test_an_image_saved_and_loaded(client):
    image = client.images.get(IMAGE)
    data = b"".join(image.save(named=True))
    image.tag("kept", "one")
    client.images.remove("kept:one")
    (loaded,) = client.images.load(data)
    assert loaded.id == image.id
    assert f"{IMAGE}:latest" in loaded.tags
    assert loaded.history()[0]["Size"] >= 0


def test_an_image_made_of_a_container(client):
    container = client.containers.run(IMAGE, ["sh", "-c", "echo made > /made"], detach=True)
    container.wait()
    image = container.commit("made", "v1", changes=["CMD cat /made", "ENV X=y"])
    assert client.containers.run("made:v1", remove=True) == b"made\n"
    assert "X=y" in image.attrs["Config"]["Env"]
    container.remove()
    client.images.remove("made:v1")
    with pytest.raises(errors.ImageNotFound):
        client.images.get("made:v1")


def test_an_image_imported(client):
    client.api.import_image_from_data(rootfs_tar(), repository="imported", tag="v1")
    assert client.containers.run("imported:v1", "/bin/busybox echo in", remove=True) == b"in\n"
    client.images.remove("imported:v1")


@needs_registry
def test_push_and_pull(client, network, tmp_path):
    with running_registry(tmp_path / "registry") as registry:
        name = f"{registry.address}/team/box"
        client.images.get(IMAGE).tag(name, "v1")
        lines = list(client.images.push(name, tag="v1", stream=True, decode=True))
        assert not [line for line in lines if "error" in line], lines
        assert len({line["id"] for line in lines if "id" in line}) == 1, "the layer; the config is none"
        pushed = next(line["aux"]["Digest"] for line in lines if "aux" in line)
        client.images.remove(f"{name}:v1")
        pulled = client.images.pull(name, tag="v1")
        assert f"{name}@{pushed}" in pulled.attrs["RepoDigests"]
        assert client.images.get_registry_data(f"{name}:v1").id == pushed
        client.images.remove(f"{name}:v1")
        with pytest.raises(errors.NotFound, match=f"manifest for {name}:none not found: manifest unknown"):
            client.images.pull(name, tag="none")
    with pytest.raises(errors.APIError):
        client.images.pull(name, tag="v1")


def test_a_build_is_refused_in_a_sentence(client):
    with pytest.raises(errors.APIError, match="build"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\n"))


def test_an_image_that_is_not_there(client):
    with pytest.raises(errors.ImageNotFound):
        client.images.get("none-such")


def test_prune_of_images(client):
    container = client.containers.create(IMAGE, "true")
    container.commit()
    container.remove()
    assert client.images.list(filters={"dangling": True})
    assert client.images.prune()["ImagesDeleted"]
    assert client.images.list(filters={"dangling": True}) == []
    assert client.images.get(IMAGE)


# --- networks and volumes -----------------------------------------------------------------------------------


def test_networks(client):
    pool = types.IPAMPool(subnet="10.99.0.0/24", gateway="10.99.0.1")
    network = client.networks.create("lan", driver="bridge", ipam=types.IPAMConfig(pool_configs=[pool]))
    container = client.containers.run(IMAGE, "sleep 1000", detach=True, network="lan", name="one")
    container.reload()
    assert container.attrs["NetworkSettings"]["Networks"]["lan"]["IPAddress"].startswith("10.99.0.")
    network.reload()
    assert network.containers == [container]
    other = client.networks.create("wan", internal=True)
    other.connect(container, aliases=["alias"])
    assert b"eth1" in container.exec_run("cat /proc/net/dev").output
    other.disconnect(container)
    assert b"eth1" not in container.exec_run("cat /proc/net/dev").output
    with pytest.raises(errors.APIError, match="active endpoints"):
        network.remove()
    assert {one.name for one in client.networks.list()} == {"bridge", "host", "none", "lan", "wan"}
    container.remove(force=True)
    assert set(client.networks.prune()["NetworksDeleted"]) == {"lan", "wan"}


def test_volumes(client):
    volume = client.volumes.create("store", labels={"a": "b"})
    mount = types.Mount("/v", "store", type="volume")
    assert client.containers.run(IMAGE, "touch /v/x", mounts=[mount], remove=True) == b""
    assert client.containers.run(IMAGE, "ls /v", mounts=[mount], remove=True) == b"x\n"
    assert client.volumes.get("store").attrs["Labels"] == {"a": "b"}
    user = client.containers.create(IMAGE, "true", mounts=[mount])
    with pytest.raises(errors.APIError, match="in use"):
        volume.remove()
    user.remove()
    client.volumes.create()  # one without a name
    assert len(client.volumes.prune()["VolumesDeleted"]) == 1  # those without a name alone
    assert client.volumes.prune(filters={"all": True})["VolumesDeleted"] == ["store"]
