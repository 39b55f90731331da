"""docker-py, the other client that everybody has."""

from __future__ import annotations

import io
import tarfile
import threading
from contextlib import closing

import pytest
from support.engine import IMAGE

docker = pytest.importorskip("docker")
NONE = {"network_mode": "none"}


@pytest.fixture
def client(engine):
    with closing(docker.DockerClient(base_url=f"unix://{engine.socket}", timeout=20)) as made:
        yield made


def test_run_logs_and_wait(client):
    assert client.containers.run(IMAGE, "echo hello", remove=True, **NONE) == b"hello\n"
    box = client.containers.run(
        IMAGE, ["sh", "-c", "for i in 1 2 3; do echo $i; done; exit 5"], detach=True, **NONE
    )
    assert b"".join(box.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    assert box.wait()["StatusCode"] == 5
    assert box.logs(tail=1) == b"3\n"
    with pytest.raises(docker.errors.ContainerError):
        client.containers.run(IMAGE, ["sh", "-c", "exit 1"], remove=True, **NONE)


def test_exec(client):
    box = client.containers.run(IMAGE, "sleep 1000", detach=True, **NONE)
    assert box.exec_run("echo hi").output == b"hi\n"
    done = box.exec_run(["sh", "-c", "echo o; echo e >&2; exit 3"], demux=True)
    assert (done.exit_code, done.output) == (3, (b"o\n", b"e\n"))
    stream = box.exec_run("cat", stdin=True, socket=True).output._sock
    stream.sendall(b"abc\n")
    stream.shutdown(1)
    got = b""
    while piece := stream.recv(100):
        got += piece
    assert got == b"\1\0\0\0\0\0\0\4abc\n"


def test_archives(client):
    box = client.containers.create(IMAGE, **NONE)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"xyz"))
    assert box.put_archive("/tmp", made.getvalue())
    pieces, stat = box.get_archive("/tmp/file")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert tar.extractfile("file").read() == b"xyz"
    assert (stat["name"], stat["size"], stat["mode"]) == ("file", 3, 0o644)


def test_statistics_and_events(client):
    box = client.containers.run(IMAGE, "sleep 1000", detach=True, **NONE)
    stats = box.stats(stream=False)
    assert stats["pids_stats"]["current"] == 1
    assert stats["cpu_stats"]["system_cpu_usage"] > stats["precpu_stats"]["system_cpu_usage"]
    events = client.events(decode=True, filters={"container": box.id})
    threading.Timer(0.3, box.pause).start()
    assert next(events)["Action"] == "pause"
    events.close()


def test_networks_and_volumes(client):
    network, volume = client.networks.create("net"), client.volumes.create("vol")
    volumes = {"vol": {"bind": "/v", "mode": "rw"}}
    client.containers.run(IMAGE, "sleep 1000", name="web", network="net", volumes=volumes, detach=True)
    network.reload()
    assert [one.name for one in network.containers] == ["web"]
    assert b"1 packets received" in client.containers.run(
        IMAGE, "ping -c1 -W5 web", network="net", remove=True
    )
    client.containers.get("web").remove(force=True)
    network.remove()
    volume.remove()


def test_errors_have_their_types(client):
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("none")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("none")
    with pytest.raises(docker.errors.APIError, match="building images is not supported"):
        client.images.build(fileobj=io.BytesIO(b"FROM scratch"))
