"""login, logout, search, and what a registry has, without pulling: by docker, by pyr, by docker-py."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine import IMAGE, Engine
from support.fake_registry import FakeRegistry, fake_registry
from support.pyr import Pyr
from support.registry import Registry, needs_registry, running_registry

HTPASSWD = "me:$2b$04$JHkbg0bwGjDqRR6uj1YDBO0K7vTSdGNqA6AkIb0pspXOkRLYjgaYC"  # of "secret"
ENTRY = base64.b64encode(b"me:secret").decode()
HELPER = """#!/bin/sh
case "$1" in
    store) cat >"{kept}" ;;
    get) cat "{kept}" 2>/dev/null || {{ echo "credentials not found in native keychain"; exit 1; }} ;;
    erase) rm -f "{kept}" ;;
esac
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Registry]:
    """Debian's registry, for one user."""
    (tmp_path / "htpasswd").write_text(HTPASSWD + "\n")
    more = f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}"
    with running_registry(tmp_path / "registry", more) as registry:
        yield registry


@pytest.fixture
def fake(network: None) -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def pyr(engine: Engine, tmp_path: Path) -> Pyr:
    made = Pyr(tmp_path, ("-H", f"unix://{engine.socket}"))
    made.environment["DOCKER_CONFIG"] = str(tmp_path / "config")
    return made


def auths(directory: Path) -> dict:
    return json.loads((directory / "config.json").read_text()).get("auths", {})


@needs_registry
def test_docker_logs_in_and_out(docker, guarded):
    address, words = guarded.address, ("--username", "me", "--password-stdin")
    refused = docker.docker("login", *words, address, input="wrong")
    assert refused.returncode == 1
    assert "unauthorized" in refused.stderr.lower()
    assert "Login Succeeded" in docker.ok("login", *words, address, input="secret")
    assert auths(docker.root / "config") == {address: {"auth": ENTRY}}
    docker.ok("tag", IMAGE, f"{address}/there:1")
    docker.ok("push", f"{address}/there:1")
    docker.ok("logout", address)
    assert "denied" in docker.fails("pull", f"{address}/there:1")
    docker.ok("rmi", f"{address}/there:1")


@needs_registry
def test_pyr_logs_in_and_out(pyr, guarded, tmp_path):
    address, words = guarded.address, ("login", "--username", "me", "--password-stdin")
    refused = pyr.call(*words, address, input="wrong\n")
    assert refused.returncode == 1
    assert "unauthorized" in refused.stderr.lower()
    assert not (tmp_path / "config").exists()
    assert pyr.call(*words, f"http://{address}/v2/", input="secret\n").stdout == "Login Succeeded\n"
    assert auths(tmp_path / "config") == {address: {"auth": ENTRY}}
    assert (tmp_path / "config" / "config.json").stat().st_mode & 0o777 == 0o600
    pyr.ok("tag", IMAGE, f"{address}/there:1")
    pyr.ok("push", f"{address}/there:1")
    assert pyr.ok("logout", address) == f"Removing login credentials for {address}\n"
    assert auths(tmp_path / "config") == {}
    assert "denied" in pyr.fails("push", f"{address}/there:1")
    pyr.ok("rmi", f"{address}/there:1")


@needs_registry
def test_a_helper_keeps_the_credentials(pyr, guarded, tmp_path):
    program, kept = tmp_path / "bin" / "docker-credential-mine", tmp_path / "kept"
    program.parent.mkdir()
    program.write_text(HELPER.format(kept=kept))
    program.chmod(0o755)
    pyr.environment["PATH"] = f"{program.parent}:{pyr.environment['PATH']}"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text('{"credsStore": "mine", "other": [1]}')
    address = guarded.address
    pyr.ok("login", "-u", "me", "--password-stdin", address, input="secret")
    assert json.loads(kept.read_text()) == {"ServerURL": address, "Username": "me", "Secret": "secret"}
    written = (tmp_path / "config" / "config.json").read_text()
    assert "secret" not in written and ENTRY not in written and '"other"' in written
    pyr.ok("tag", IMAGE, f"{address}/there:1")
    pyr.ok("push", f"{address}/there:1")
    pyr.ok("logout", address)
    assert not kept.exists()
    pyr.ok("rmi", f"{address}/there:1")


def test_a_token_server_is_asked_with_the_credentials(docker, fake):
    fake.token, fake.users = "abc", {"me": "secret"}
    words = ("login", "--username", "me", "--password-stdin", fake.address)
    assert "Login Succeeded" in docker.ok(*words, input="secret")
    assert "unauthorized" in docker.docker(*words, input="wrong").stderr.lower()
    docker.ok("logout", fake.address)


def test_nobody_there_is_said_as_such(docker):
    told = docker.docker("login", "-u", "me", "--password-stdin", "127.0.0.1:9", input="x")
    assert told.returncode == 1
    assert "registry can't be reached" in told.stderr


@pytest.mark.parametrize("by", ["docker", "pyr"])
def test_search_by_the_catalogue(docker, pyr, fake, by):
    fake.catalog = ["base/one", "base/two", "other", "wide/base"]
    search = docker.ok if by == "docker" else pyr.ok
    found = search("search", "--format", "{{.Name}}", f"{fake.address}/base")
    assert found.split() == [f"{fake.address}/{name}" for name in ("base/one", "base/two", "wide/base")]
    assert len(search("search", "--limit", "1", "--format", "{{.Name}}", f"{fake.address}/base").split()) == 1


@pytest.mark.parametrize("by", ["docker", "pyr"])
def test_search_by_an_index(docker, pyr, fake, by):
    fake.index = [
        {"name": "web", "description": "serves\npages", "star_count": 7, "is_official": True},
        {"name": "web2", "description": "x" * 80, "star_count": 1},
    ]
    search = docker.ok if by == "docker" else pyr.ok
    lines = search("search", f"{fake.address}/web").splitlines()
    assert lines[0].split()[:4] == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]  # Docker's had one more once
    assert lines[1].split() == [f"{fake.address}/web", "serves", "pages", "7", "[OK]"]
    assert lines[2].split()[1].endswith("…")
    shown = search("search", "-f", "is-official=true", "--format", "{{.Name}}", f"{fake.address}/web")
    assert shown.split() == [f"{fake.address}/web"]
    shown = search("search", "-f", "stars=2", "--no-trunc", "--format", "{{.StarCount}}", f"{fake.address}/w")
    assert shown.split() == ["7"]


def test_search_where_docker_s_registry_is_out_of_reach(docker):
    """In a network without a way out."""
    assert "index.docker.io" in docker.fails("search", "busybox")
    assert "outside the range" in docker.fails("search", "--limit", "101", "busybox")


@needs_registry
def test_what_a_registry_has(docker, tmp_path):
    py = pytest.importorskip("docker", reason="docker-py is not installed")
    with running_registry(tmp_path / "registry") as registry:
        name = f"{registry.address}/there:1"
        docker.ok("tag", IMAGE, name)
        docker.ok("push", name)
        docker.ok("rmi", name)
        client = py.DockerClient(base_url=f"unix://{docker.socket}")
        found = client.images.get_registry_data(name)
        assert found.id.startswith("sha256:") and found.has_platform("linux")
        assert found.pull().id == client.images.get(IMAGE).id
        with pytest.raises(py.errors.NotFound):
            client.images.get_registry_data(f"{registry.address}/none")
        client.close()
        docker.ok("rmi", f"{registry.address}/there@{found.id}")
