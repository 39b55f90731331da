"""cp, diff, commit, export; save, load, import, and a registry."""

from __future__ import annotations

import functools
import io
import json
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.engine import IMAGE, rootfs_tar
from support.registry import Registry, needs_registry, running_registry

from pyrunc.errors import PyruncError


@pytest.mark.parametrize("running", [True, False])
def test_cp_both_ways(docker, tmp_path, running):
    docker.ok("create", "--name", "box", "--network", "none", "-v", "vol:/vol", IMAGE, "sleep", "1000")
    if running:
        docker.ok("start", "box")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_text("text")
    docker.ok("cp", str(tmp_path / "tree"), "box:/tmp/")
    docker.ok("cp", str(tmp_path / "tree" / "sub" / "file"), "box:/vol/other")
    docker.ok("cp", "box:/tmp/tree", str(tmp_path / "back"))
    docker.ok("cp", "box:/vol/other", str(tmp_path / "other"))
    assert (tmp_path / "back" / "sub" / "file").read_text() == "text"
    assert (tmp_path / "other").read_text() == "text"
    assert "box" in docker.fails("cp", "box:/nothing", str(tmp_path))


def test_cp_takes_every_name_for_a_name(docker, tmp_path):
    """A whiteout is one in a layer of an image alone."""
    (tmp_path / ".wh.kept").write_text("of a name that layers give a meaning to")
    docker.ok("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "1000")
    docker.ok("exec", "box", "touch", "/tmp/kept")
    docker.ok("cp", str(tmp_path / ".wh.kept"), "box:/tmp/")
    assert docker.ok("exec", "box", "ls", "-A", "/tmp").split() == [".wh.kept", "kept"]


def test_cp_does_not_leave_the_container(docker, tmp_path):
    (tmp_path / "secret").write_text("host")
    docker.ok("create", "--name", "box", "--network", "none", IMAGE, "sh")
    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w") as tar:
        entry = tarfile.TarInfo("trap")
        entry.type, entry.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(entry)
        inside = tarfile.TarInfo("trap/written")
        tar.addfile(inside)
        out = tarfile.TarInfo("../../../../.." + str(tmp_path / "climbed"))
        tar.addfile(out)
    with docker.client as client:
        query = {"path": "/tmp"}
        try:
            client.stream("PUT", "/containers/box/archive", query=query, data=[link.getvalue()]).read()
        except Exception as error:  # whatever is said of it
            assert str(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret"]


def test_diff_and_commit(docker):
    docker.docker(
        "run", "--name", "box", "--network", "none", IMAGE, "sh", "-c", "echo x > /data/new; rm /data/seed"
    )
    assert docker.ok("diff", "box").splitlines() == ["C /data", "A /data/new", "D /data/seed"]
    docker.ok("commit", "-c", 'CMD ["cat","/data/new"]', "-a", "me", "-m", "why", "box", "made:1")
    assert docker.ok("run", "--rm", "--network", "none", "made:1") == "x\n"
    assert json.loads(docker.ok("image", "inspect", "made:1"))[0]["Author"] == "me"
    docker.ok("rmi", "made:1")


def test_export_is_imported(docker, tmp_path):
    docker.ok("create", "--name", "box", IMAGE)
    docker.ok("export", "-o", str(tmp_path / "tree.tar"), "box")
    docker.ok("import", "-c", 'ENTRYPOINT ["echo"]', str(tmp_path / "tree.tar"), "flat:1")
    assert docker.ok("run", "--rm", "--network", "none", "flat:1", "hi") == "hi\n"
    docker.ok("rmi", "flat:1")


def test_save_and_load(docker, tmp_path):
    docker.ok("tag", IMAGE, "copy:1")
    before = json.loads(docker.ok("image", "inspect", "copy:1"))[0]["Id"]
    docker.ok("save", "-o", str(tmp_path / "image.tar"), "copy:1")
    docker.ok("rmi", "copy:1")
    assert docker.ok("load", "-i", str(tmp_path / "image.tar")) == "Loaded image: copy:1\n"
    assert json.loads(docker.ok("image", "inspect", "copy:1"))[0]["Id"] == before
    assert "copy:1" in docker.ok(
        "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=cop*"
    )
    docker.ok("rmi", "copy:1")


def test_an_image_in_use_stays(docker):
    docker.ok("tag", IMAGE, "used:1")
    docker.ok("create", "--name", "box", "used:1")
    image = json.loads(docker.ok("image", "inspect", IMAGE))[0]["Id"]
    assert "conflict" in docker.fails("rmi", image)
    docker.ok("rmi", "used:1")


@pytest.fixture
def registry(network: None, tmp_path: Path):
    with running_registry(tmp_path / "registry") as made:
        yield made


@needs_registry
def test_push_and_pull(docker, registry: Registry):
    name = f"{registry.address}/some/thing:1"
    docker.ok("tag", IMAGE, name)
    assert "1: digest: sha256:" in docker.ok("push", name)
    docker.ok("rmi", name)
    told = docker.ok("pull", name)
    assert f"Status: Downloaded newer image for {name}" in told or "Status: Image is up to date" in told
    digest = json.loads(docker.ok("image", "inspect", name))[0]["RepoDigests"][0]
    assert digest.startswith(f"{registry.address}/some/thing@sha256:")
    docker.ok("pull", digest)
    assert (
        docker.ok("run", "--rm", "--network", "none", "--pull", "always", name, "echo", "pulled")
        == "pulled\n"
    )
    assert "manifest unknown" in docker.fails("pull", f"{registry.address}/none:1")
    docker.ok("rmi", "-f", name)


def test_a_committed_image_has_nothing_of_what_every_container_gets(docker, tmp_path):
    docker.ok("run", "--name", "box", "--network", "none", "-v", "/vol", IMAGE, "sh", "-c", "echo 1 >/made")
    docker.ok("commit", "box", "img:made")
    docker.ok("save", "-o", str(tmp_path / "img.tar"), "img:made")
    with tarfile.open(tmp_path / "img.tar") as whole:
        manifest = json.loads(whole.extractfile("manifest.json").read())[0]
        with tarfile.open(fileobj=whole.extractfile(manifest["Layers"][-1])) as layer:
            assert layer.getnames() == ["made", "vol"]
    docker.ok("rmi", "img:made")


def test_an_image_of_what_lies_at_an_address(docker, tmp_path):
    (tmp_path / "tree.tar").write_bytes(rootfs_tar())
    serve = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        id = docker.ok("import", "-c", "ENV PATH=/bin", f"{base}/tree.tar", "img:url").splitlines()[-1]
        assert "404" in docker.fails("import", f"{base}/none.tar", "img:none")
        server.shutdown()
    assert id.startswith("sha256:")
    assert docker.ok("run", "--rm", "--network", "none", "img:url", "cat", "/data/seed") == "from the image\n"
    assert "can't fetch" in docker.fails("import", "http://127.0.0.1:9/x.tar", "img:none")
    with docker.client as client, pytest.raises(PyruncError, match="only http and https"):
        client.call("POST", "/images/create", query={"fromSrc": "file:///etc/passwd", "repo": "img"})
    docker.ok("rmi", "img:url")
