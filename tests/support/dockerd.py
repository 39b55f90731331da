"""A Docker Engine of its own: the daemon that is installed, or that tools/unpack fetched, with its own
containerd, network, /run and directories, so that neither meets what the host may run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.bundle import PREFIX
from support.caller import UNPACKED, Caller
from support.waiting import until

# The unpacked pair first: a client of the daemon's own release, with the proxy and the init beside it.
SEARCH_PATH = f"{UNPACKED}/usr/sbin:{UNPACKED}/usr/bin:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
CGROUP = f"{PREFIX}docker-{os.getpid()}"
NEEDS = ("dockerd", "docker", "containerd", "containerd-shim-runc-v2", "iptables", "unshare")


def missing() -> str:
    """Which of the programs that it takes is not there; "" for none."""
    return " ".join(name for name in NEEDS if shutil.which(name, path=SEARCH_PATH) is None)


def _storage_driver(path: Path) -> str:
    """An overlay can't have its upper directory on an overlay."""
    found = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True)
    return "vfs" if found.stdout.strip() in ("overlayfs", "tmpfs", "ramfs") else "overlay2"


@contextlib.contextmanager
def dockerd(machine: tuple[str, ...], path: Path, settings: dict[str, Any]) -> Iterator[Caller]:
    """A client of a daemon below `path`, on that machine, that has these settings as its daemon.json."""
    path.mkdir(exist_ok=True)
    # Without it the daemon would write a key into /etc/docker; there is no option of this name.
    settings = {**settings, "deprecated-key-path": f"{path}/key.json"}
    (path / "daemon.json").write_text(json.dumps(settings))
    env = {**os.environ, "PATH": SEARCH_PATH, "DOCKER_CONFIG": f"{path}/client", "DOCKER_BUILDKIT": "0"}
    env.pop("DOCKER_HOST", None)
    env.pop("DOCKER_CONTEXT", None)
    client = Caller(["docker", "--host", f"unix://{path}/sock"], env)
    words = [
        *machine, "dockerd", "--config-file", path / "daemon.json", "--data-root", path / "root",
        "--exec-root", path / "exec", "--pidfile", path / "pid", "--host", f"unix://{path}/sock",
        "--cgroup-parent", f"/{CGROUP}", "--storage-driver", _storage_driver(path),
    ]  # fmt: skip
    with (path / "log").open("wb") as log:
        daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=path)
    try:
        until(lambda: _answers(client, daemon, path), "dockerd answers", 60)
        yield client
    finally:
        daemon.terminate()
        daemon.wait(60)


def _answers(client: Caller, daemon: subprocess.Popen[bytes], path: Path) -> bool:
    assert daemon.poll() is None, (path / "log").read_text()[-2000:]
    return client("version").returncode == 0
