"""A directory or file of a volume, mounted by itself (`volume-subpath`)."""

from __future__ import annotations

import pytest
from support.engine import IMAGE, Engine
from support.pyr import Pyr

from pyrunc.errors import PyruncError


def part(engine: Engine, subpath: str, script: str) -> str:
    """By the API: not every docker has the word."""
    volume = {"Type": "volume", "Source": "store", "Target": "/v", "VolumeOptions": {"Subpath": subpath}}
    body = {"Image": IMAGE, "Cmd": ["sh", "-c", script], "Tty": True, "HostConfig": {"Mounts": [volume]}}
    with engine.client as client:
        made = client.call("POST", "/containers/create", body=body)["Id"]
        client.call("POST", f"/containers/{made}/start")
        client.call("POST", f"/containers/{made}/wait")
        with client.stream("GET", f"/containers/{made}/logs", query={"stdout": 1}) as answer:
            return answer.read().decode().replace("\r", "")


def test_a_part_of_a_volume(docker):
    fill = "mkdir -p a/b; echo deep >a/b/f; ln -s a/b way; ln -s / out; ln -s ../../.. up"
    docker.ok("run", "--rm", "-v", "store:/s", "-w", "/s", IMAGE, "sh", "-c", fill)
    assert part(docker, "a/b", "cat /v/f; echo new >/v/g") == "deep\n"
    assert part(docker, "way", "cat /v/g") == "new\n"
    assert part(docker, "a/b/f", "cat /v") == "deep\n"
    for hostile in ("out", "up"):  # a link's way ends at the volume
        assert part(docker, hostile, "ls /v").split() == ["a", "out", "up", "way"]
    with pytest.raises(PyruncError, match="cannot access path none of volume store"):
        part(docker, "none", "true")
    for wrong in ("/a", "../a", "a/../../b"):
        with pytest.raises(PyruncError, match="must be a relative path within the volume"):
            part(docker, wrong, "true")


def test_a_part_of_a_volume_by_pyr_and_cp(engine, tmp_path):
    pyr = Pyr(tmp_path, ("-H", f"unix://{engine.socket}"))
    pyr.ok("run", "--rm", "-v", "store:/s", IMAGE, "sh", "-c", "mkdir -p /s/a; echo deep >/s/a/f")
    mount = "type=volume,src=store,dst=/v,volume-subpath=a"
    pyr.ok("run", "--name", "box", "--mount", mount, IMAGE, "sh", "-c", "echo x >/v/g")
    pyr.ok("cp", "box:/v/f", str(tmp_path / "f"))
    assert (tmp_path / "f").read_text() == "deep\n"
    pyr.ok("start", "box")
    pyr.ok("restart", "-t", "0", "box")
