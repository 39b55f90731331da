"""The daemon itself: its socket, its settings, its end, and a life after it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from support.engine import IMAGE, SECONDS, Engine
from support.waiting import until


def raw(engine: Engine, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(engine.socket))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while piece := connection.recv(65536):
            got += piece
        return got


def test_the_socket_is_for_root_and_a_group(engine):
    found = engine.socket.stat()
    assert (found.st_mode & 0o777, found.st_uid) == (0o660, 0)


def test_ping_has_the_headers_that_clients_read(engine):
    head, _, body = raw(engine, b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert body == b"OK"
    for line in (
        b"Api-Version: 1.51",
        b"Ostype: linux",
        b"Docker-Experimental: false",
        b"Swarm: inactive",
        b"Builder-Version: 1",
    ):
        assert line in head.split(b"\r\n")
    assert raw(engine, b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")[2] == b""


@pytest.mark.parametrize(
    ("request_line", "code", "words"),
    [
        ("GET /swarm", 503, "not a swarm manager"),
        ("GET /v1.41/services", 503, "not a swarm manager"),
        ("GET /plugins", 501, "plugins are not supported"),
        ("POST /build", 501, "building images is not supported"),
        ("POST /session", 501, "BuildKit"),
        ("GET /nothing", 404, "page not found"),
        ("GET /containers/none/json", 404, "No such container: none"),
        ("GET /v1.23/info", 400, "too old"),
        ("POST /containers/none/wait?condition=what", 404, "No such container"),
        ("GET /containers/json?filters=%7B%22x%22%3A%5B%5D%7D", 400, "invalid filter 'x'"),
        ("GET /containers/json?limit=x", 400, "invalid number"),
    ],
)
def test_errors_are_one_sentence(engine, request_line, code, words):
    got = raw(engine, f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.split()[1] == str(code).encode()
    assert words in json.loads(body)["message"]


def test_wait_answers_its_head_at_once(engine):
    made = engine.client.call(
        "POST",
        "/containers/create",
        body={"Image": IMAGE, "Cmd": ["sh", "-c", "exit 3"], "HostConfig": {"NetworkMode": "none"}},
    )
    with engine.client.stream(
        "POST", f"/containers/{made['Id']}/wait", query={"condition": "next-exit"}
    ) as waiting:
        assert waiting.head.status == 200
        engine.call("POST", f"/containers/{made['Id']}/start")
        assert json.loads(waiting.read()) == {"StatusCode": 3}


def test_who_waits_and_leaves_is_noticed(engine):
    made = engine.client.call("POST", "/containers/create", body={"Image": IMAGE})
    assert engine.process is not None
    tasks = Path(f"/proc/{engine.process.pid}/task")
    before = set(os.listdir(tasks))
    streams = [
        engine.client.stream("POST", f"/containers/{made['Id']}/wait", query={"condition": "next-exit"})
        for _ in range(5)
    ]
    theirs = set(os.listdir(tasks)) - before
    assert len(theirs) >= 5
    for stream in streams:
        stream.__exit__(None)
    until(lambda: not theirs & set(os.listdir(tasks)), "their threads have ended")


def test_containers_go_on_without_the_daemon(docker):
    docker.ok(
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        IMAGE,
        "sh",
        "-c",
        "for i in $(seq 100); do echo $i; sleep 0.1; done",
    )
    docker.ok("run", "-d", "--name", "web", "-p", "18080:80", IMAGE, "sleep", "1000")
    docker.ok("run", "-d", "--name", "ends", "--network", "none", IMAGE, "sh", "-c", "sleep 0.5; exit 6")
    pid = docker.inspect("box")["State"]["Pid"]
    assert docker.end() == 0
    docker.start()
    assert docker.inspect("box")["State"]["Pid"] == pid
    assert docker.ok("port", "web") == "80/tcp -> 0.0.0.0:18080\n"
    until(lambda: docker.inspect("ends")["State"]["Status"] == "exited", "its end is known")
    assert docker.inspect("ends")["State"]["ExitCode"] == 6
    assert docker.ok("exec", "box", "echo", "still") == "still\n"
    docker.ok("kill", "box")
    assert docker.ok("wait", "box") == "137\n"
    assert docker.ok("logs", "box").startswith("1\n2\n3\n")


@pytest.mark.parametrize("delay", [0.05, 0.3, 0.8])
def test_a_daemon_that_is_killed_leaves_nothing_half(docker, delay):
    """Whatever it was in the middle of: what is listed works, and what is removed is gone (see conftest)."""

    def run(number: int) -> None:
        docker.docker(
            "run", "-d", "--name", f"box{number}", "-p", "80", "-v", "/data", IMAGE, "sleep", "1000"
        )
        docker.docker("run", "--rm", "--network", "none", IMAGE, "true")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    threading.Event().wait(delay)
    assert docker.process is not None
    docker.end(signal.SIGKILL)
    for thread in threads:
        thread.join()
    docker.start()
    for container in docker.call("GET", "/containers/json", all=True):
        assert container["State"] in ("created", "running", "exited")
        if not container["Names"][0].startswith("/box"):
            continue  # it runs `true`, and may end at any time
        if container["State"] == "running":
            assert docker.ok("exec", container["Id"], "echo", "works") == "works\n"
            assert container["Ports"][0]["PublicPort"]
        else:
            docker.docker("start", container["Id"])


def test_thirty_at_a_time(docker):
    codes = []

    def run(number: int) -> None:
        codes.append(
            docker.docker("run", "--rm", "--network", "none", IMAGE, "sh", "-c", f"exit {number}").returncode
        )

    threads = [threading.Thread(target=run, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(30))
    assert docker.ok("ps", "-aq") == ""


def refused(engine: Engine, *flags: str) -> str:
    words = [word for word in engine.command() if word not in ("--host", f"unix://{engine.socket}")]
    done = subprocess.run([*words, *flags], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    return done.stderr


def test_a_clash_names_both(engine, tmp_path):
    (tmp_path / "daemon.json").write_text('{"hosts": ["unix:///a.sock"]}')
    told = refused(engine, "--config-file", str(tmp_path / "daemon.json"), "-H", "unix:///b.sock")
    assert "hosts: (from flag: [unix:///b.sock], from file: [unix:///a.sock])" in told


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-H", "tcp://127.0.0.1:2375"), "would give root to everybody"),
        (("-H", "tcp://127.0.0.1:2376", "--tlsverify"), "--tlsverify needs"),
        (("-H", "nothing"), "invalid address"),
        (("--storage-driver", "btrfs"), "unknown storage driver"),
        (("--no-such-flag",), "flag provided but not defined"),
    ],
)
def test_settings_that_cannot_be_are_refused(engine, flags, words):
    assert words in refused(engine, *flags)


def test_one_daemon_for_each_root(engine):
    assert "another pyruncd runs there" in refused(engine, "-H", f"unix://{engine.root}/second.sock")


def openssl(*words: str, **options) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, **options)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    openssl(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=ca",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        cwd=tmp_path,
    )
    for name in ("server", "client"):
        openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            cwd=tmp_path,
        )
        (tmp_path / "ext").write_text("subjectAltName=IP:127.0.0.1")
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "ext",
            "-out",
            f"{name}.pem",
            cwd=tmp_path,
        )
    return tmp_path


def test_tcp_is_for_those_with_a_certificate(docker, certificates):
    at = {
        name: str(certificates / name)
        for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
    }
    docker.end()
    docker.start(
        "-H",
        "tcp://127.0.0.1:12376",
        "--tlsverify",
        "--tlscacert",
        at["ca.pem"],
        "--tlscert",
        at["server.pem"],
        "--tlskey",
        at["server.key"],
    )
    own = ("--tlscert", at["client.pem"], "--tlskey", at["client.key"])
    secure = ("-H", "tcp://127.0.0.1:12376", "--tlsverify", "--tlscacert", at["ca.pem"], *own)
    assert (
        docker.ok(*secure, "run", "--rm", "-i", "--network", "none", IMAGE, "cat", input="over tls")
        == "over tls"
    )
    assert docker.docker("-H", "tcp://127.0.0.1:12376", "info").returncode != 0
    assert (
        docker.docker("-H", "tcp://127.0.0.1:12376", "--tls", "--tlscacert", at["ca.pem"], "ps").returncode
        != 0
    )
    with socket.create_connection(("127.0.0.1", 12376)) as plain:
        plain.sendall(b"GET /info HTTP/1.1\r\n\r\n")
        plain.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1 200" not in plain.recv(1000)
    docker.end()
    docker.start()


def test_at_rest_it_is_small(engine):
    """PSS of the daemon and its spawner; what Docker's pair takes is 104 MiB."""
    assert engine.process is not None
    pids = [
        engine.process.pid,
        *map(int, Path(f"/proc/{engine.process.pid}/task/{engine.process.pid}/children").read_text().split()),
    ]
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    assert total < 60 << 10, f"{total} KiB in {len(pids)} processes"


def test_a_hangup_has_the_settings_read_again(engine, tmp_path):
    """Those of Docker's that may change while it runs; a file that is wrong changes nothing."""
    file = tmp_path / "daemon.json"
    file.write_text('{"labels": ["a=1"]}')
    assert engine.process is not None
    engine.end()
    engine.start("--config-file", str(file))
    try:
        assert engine.call("GET", "/info")["Labels"] == ["a=1"]
        new = {
            "labels": ["b=2"], "insecure-registries": ["10.1.2.3:5000"], "registry-mirrors": ["https://m.test"],
            "runtimes": {"mine": {"path": "/bin/true"}}, "log-driver": "none",
        }  # fmt: skip
        file.write_text(json.dumps(new))
        engine.process.send_signal(signal.SIGHUP)
        until(lambda: engine.call("GET", "/info")["Labels"] == ["b=2"], "it has read them")
        info = engine.call("GET", "/info")
        assert "10.1.2.3:5000" in info["RegistryConfig"]["IndexConfigs"]
        assert info["RegistryConfig"]["Mirrors"] == ["https://m.test"]
        assert "mine" in info["Runtimes"]
        assert info["LoggingDriver"] == "json-file"
        assert "log-driver: the new value is taken up by the next start" in engine.log()
        with engine.client as client:
            body = {"Image": IMAGE, "HostConfig": {"Runtime": "mine"}}
            client.call("POST", "/containers/create", body=body)
        file.write_text('{"labels": 5}')
        engine.process.send_signal(signal.SIGHUP)
        until(lambda: "the configuration stays as it was" in engine.log(), "it says so")
        assert engine.call("GET", "/info")["Labels"] == ["b=2"]
    finally:
        engine.end()
        engine.start()
