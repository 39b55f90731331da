"""docker.credentials and archives: files of the user's."""

import base64
import io
import json
import os
import tarfile

import pytest

from pyrunc.docker.archives import pack, unpack
from pyrunc.docker.credentials import DOCKER_HUB, auth_header, find, load_configuration, registry_of
from pyrunc.errors import PyruncError


def test_which_registry_an_image_is_of():
    assert (
        registry_of("busybox") == registry_of("library/busybox") == registry_of("docker.io/x") == DOCKER_HUB
    )
    assert registry_of("localhost:5000/x:1") == "localhost:5000"


def test_credentials_of_a_file(tmp_path):
    auth = base64.b64encode(b"me:secret:word").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"https://r.example/": {"auth": auth}}}))
    document = load_configuration(str(tmp_path))

    assert find(document, "r.example") == {
        "username": "me",
        "password": "secret:word",
        "serveraddress": "r.example",
    }
    assert find(document, "other") == {}
    header = auth_header(str(tmp_path), "r.example/x")["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header))["username"] == "me"
    assert auth_header(str(tmp_path / "none"), "x") == {}


def test_a_helper_is_asked(tmp_path, monkeypatch):
    program = tmp_path / "docker-credential-test"
    program.write_text(
        '#!/bin/sh\nread server\necho "{\\"Username\\":\\"u\\",\\"Secret\\":\\"of $server\\"}"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find({"credsStore": "test"}, "r.example")["password"] == "of r.example"
    with pytest.raises(PyruncError, match="docker-credential-absent"):
        find({"credsStore": "absent"}, "r.example")


def test_a_tree_survives_its_way_through_an_archive(tmp_path):
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "below" / "file").write_bytes(b"x" * 300_000)
    (source / "link").symlink_to("below/file")
    (source / "below" / "file").chmod(0o640)
    target = tmp_path / "target"
    target.mkdir()

    stream = io.BytesIO(b"".join(pack(str(source), "tree", follows=False)))
    total = unpack(stream, str(target), lambda name: name, keeps_owner=False)

    copied = target / "tree" / "below" / "file"
    assert (total, copied.stat().st_size, copied.stat().st_mode & 0o777) == (300_000, 300_000, 0o640)
    assert os.readlink(target / "tree" / "link") == "below/file"


@pytest.mark.parametrize("trick", ["dots", "link"])
def test_an_archive_cannot_write_outside(tmp_path, trick):
    """A name with dots, and a link that leads out of it with a name below."""
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        if trick == "link":
            link = tarfile.TarInfo("a")
            link.type, link.linkname = tarfile.SYMTYPE, str(outside)
            archive.addfile(link)
        file = tarfile.TarInfo("a/evil" if trick == "link" else "a/../../outside/evil")
        file.size = 1
        archive.addfile(file, io.BytesIO(b"x"))
    stream.seek(0)

    with pytest.raises(PyruncError):
        unpack(stream, str(target), lambda name: name, keeps_owner=False)
    assert os.listdir(outside) == []
