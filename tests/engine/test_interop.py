"""Images to and from skopeo and podman: what one pushes or saves, the other takes."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from support.caller import own_directory
from support.engine import IMAGE
from support.registry import needs_registry, needs_skopeo, running_registry, skopeo

needs_podman = pytest.mark.skipif(shutil.which("podman") is None, reason="there is no podman")
SECONDS = 120


@pytest.fixture
def registry(network, tmp_path):
    with running_registry(tmp_path / "registry") as made:
        yield made


@pytest.fixture
def podman(network):
    """With a storage of its own; nothing is run by it."""
    with own_directory() as path:
        words = ["podman", "--root", f"{path}/root", "--runroot", f"{path}/run", "--tmpdir", f"{path}/tmp"]
        words += ["--storage-driver", "vfs", "--events-backend", "none"]

        def call(*more: str) -> str:
            done = subprocess.run(
                [*words, *more], capture_output=True, text=True, check=False, timeout=SECONDS
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield call


@pytest.fixture(autouse=True)
def only_busybox_stays(engine):
    yield
    for image in engine.call("GET", "/images/json"):
        if f"{IMAGE}:latest" not in (image["RepoTags"] or ()):
            engine.call("DELETE", f"/images/{image['Id']}", force=True)


def made_by_us(docker, name: str) -> str:
    """An image of two layers and some configuration. Its id."""
    script = "echo made > /made; ln /made /linked; chmod 4755 /made; rm /data/seed; mkdir /var/lib"
    docker.ok("run", "--name", "maker", "--network", "none", IMAGE, "sh", "-c", script)
    docker.ok("commit", "-c", 'CMD ["cat", "/linked"]', "-c", "ENV A=b", "-c", "LABEL l=m", "maker", name)
    docker.ok("rm", "maker")
    return str(json.loads(docker.ok("image", "inspect", name))[0]["Id"])


def runs(docker, name: str) -> None:
    assert docker.ok("run", "--rm", "--network", "none", name) == "made\n"
    script = "stat -c %a%h /made; ls /data; echo $A"
    assert docker.ok("run", "--rm", "--network", "none", name, "sh", "-c", script) == "47552\nb\n"


@needs_registry
@needs_podman
def test_podman_pulls_what_we_push_and_we_what_it_pushes(docker, registry, podman):
    name = f"{registry.address}/ours:1"
    id = made_by_us(docker, name)
    docker.ok("push", name, timeout=SECONDS)
    podman("pull", "--tls-verify=false", name)
    there = json.loads(podman("image", "inspect", name))[0]
    assert f"sha256:{there['Id']}" == id
    assert there["Config"]["Cmd"] == ["cat", "/linked"]
    assert there["Config"]["Labels"] == {"l": "m"}
    back = f"{registry.address}/theirs"
    for kind in ("oci", "v2s2"):
        podman("push", "--tls-verify=false", "--format", kind, name, f"{back}:{kind}")
        docker.ok("pull", f"{back}:{kind}", timeout=SECONDS)
        runs(docker, f"{back}:{kind}")
        docker.ok("rmi", f"{back}:{kind}")


@needs_podman
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_archives_go_both_ways(docker, podman, tmp_path, form):
    id = made_by_us(docker, "archived:1")
    docker.ok("save", "-o", f"{tmp_path}/ours.tar", "archived:1")
    assert "archived:1" in podman("load", "-i", f"{tmp_path}/ours.tar")
    docker.ok("rmi", "archived:1")
    podman("save", "--format", form, "-o", f"{tmp_path}/theirs.tar", "archived:1")
    docker.ok("load", "-i", f"{tmp_path}/theirs.tar")
    images = docker.ok("image", "ls", "-q", "--no-trunc").split()
    found = next(one for one in images if "A=b" in docker.ok("image", "inspect", one))
    if form == "docker-archive":
        assert found == id
    runs(docker, found)


@needs_registry
@needs_skopeo
def test_skopeo_copies_in_and_out(docker, registry, tmp_path):
    name = f"{registry.address}/ours:1"
    made_by_us(docker, name)
    docker.ok("push", name, timeout=SECONDS)
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo("copy", *plain, f"docker://{name}", f"oci:{tmp_path}/layout:1")
    zstd = f"{registry.address}/zstd:1"
    skopeo("copy", *plain, "--dest-compress-format", "zstd", f"oci:{tmp_path}/layout:1", f"docker://{zstd}")
    docker.ok("rmi", name)
    docker.ok("pull", zstd, timeout=SECONDS)
    runs(docker, zstd)
    docker.ok("save", "-o", f"{tmp_path}/saved.tar", zstd)
    found = json.loads(skopeo("inspect", "--config", f"docker-archive:{tmp_path}/saved.tar"))
    assert found["config"]["Labels"] == {"l": "m"}
