"""A daemon of ours under test: in a network namespace of its own, with its state in a directory of its
own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrunc.api.client import Client, dial_unix
from pyrunc.errors import PyruncError
from pyrunc.kernel import const, syscall
from support.bundle import PREFIX
from support.caller import UNPACKED
from support.facts import mounts
from support.leaks import cgroups_at
from support.netns import Namespace
from support.waiting import until

SEARCH_PATH = f"{UNPACKED}/usr/bin:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
DOCKER = shutil.which("docker", path=SEARCH_PATH)
needs_docker = pytest.mark.skipif(DOCKER is None, reason="there is no docker command line")
IMAGE = "busybox"


def docker_version() -> int:
    """The first number of the docker command line's; 0 without one."""
    if DOCKER is None:
        return 0
    said = subprocess.run([DOCKER, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.removeprefix("Docker version ").partition(".")[0])


TABLE = f"pyrunc_test_{os.getpid()}"
CGROUP = f"/{PREFIX}engine-{os.getpid()}"
SECONDS = 120

_PROGRAM = "import sys; sys.path[:] = {path!r}; from pyrunc.api.daemon import entry; entry()"


class Engine:
    """`socket`: of the daemon, `client`: ours for it."""

    def __init__(self, root: Path, flags: tuple[str, ...]) -> None:
        self.root, self.flags = root, flags
        self.socket = root / "pyruncd.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *more: str) -> list[str]:
        program = _PROGRAM.format(path=[os.getcwd(), *sys.path])
        return [
            sys.executable, "-IB", "-c", program, "--data-root", str(self.root / "data"),
            "--exec-root", str(self.root / "run"), "--network-table", TABLE, "--cgroup-parent", CGROUP,
            "--host", f"unix://{self.socket}", *self.flags, *more,
        ]  # fmt: skip

    def start(self, *more: str) -> None:
        log = (self.root / "log").open("ab")
        self.process = subprocess.Popen(self.command(*more), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        until(self.is_up, "the daemon answers", SECONDS)

    def is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.root / "log").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0 and bool(self.client.call("GET", "/info"))

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        self.process = None
        return code

    @property
    def client(self) -> Client:
        return Client(dial_unix(str(self.socket)))

    def call(self, *words: str, **query: Any) -> Any:
        """`call("GET", "/info")`: by our own client."""
        with self.client as client:
            return client.call(words[0], words[1], query=query)

    def docker(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        assert DOCKER is not None
        environment = {
            "PATH": SEARCH_PATH, "HOME": str(self.root), "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.root / "config"),
        }  # fmt: skip
        settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": SECONDS, **options}
        return subprocess.run([DOCKER, *words], env=environment, check=False, **settings)

    def ok(self, *words: str, **options: Any) -> str:
        done = self.docker(*words, **options)
        assert done.returncode == 0, (words, done.stderr, self.log())
        return str(done.stdout)

    def fails(self, *words: str, code: int = 1) -> str:
        done = self.docker(*words)
        assert done.returncode == code, (words, done.stdout, done.stderr, self.log())
        return str(done.stderr)

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("inspect", name))[0]
        return found

    def log(self) -> str:
        return (self.root / "log").read_text()[-3000:]

    def clean(self) -> None:
        """Containers, and networks and volumes of users'."""
        for container in self.call("GET", "/containers/json", all=True):
            with contextlib.suppress(PyruncError):
                self.call("DELETE", f"/containers/{container['Id']}", force=True, v=True)
        self.call("POST", "/networks/prune")
        self.call("POST", "/volumes/prune", filters={"all": ["true"]})

    def residue(self) -> list[str]:
        """Mounts, cgroups and files of containers that are left."""
        found = [
            m.target
            for m in mounts(Path("/proc/self/mountinfo").read_text())
            if m.target.startswith(str(self.root) + "/")
        ]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*{CGROUP}/*/")]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"{CGROUP.strip('/')}/*/")]
        for directory in ("data/containers", "run/netns", "run/runtime"):
            with contextlib.suppress(FileNotFoundError):
                found += [str(path) for path in (self.root / directory).iterdir()]
        return found


def rootfs_tar() -> bytes:
    """busybox, some users, and a directory with something in it."""
    made = io.BytesIO()
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    busybox = shutil.which("busybox")
    assert busybox is not None
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("bin", "etc", "root", "tmp", "data", "var"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for name in applets:
            if name != "busybox":
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
        for name, text in (
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n"),
            ("etc/group", "root:x:0:\nbob:x:1000:\nwheel:x:10:bob\n"),
            ("data/seed", "from the image\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


@contextlib.contextmanager
def private_network() -> Iterator[None]:
    """For the calling thread and what it starts: a network with a loopback and nothing else."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    new = Namespace()
    try:
        syscall.setns(new.fd, const.CLONE_NEWNET)
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            syscall.setns(own, const.CLONE_NEWNET)
    finally:
        new.close()
        os.close(own)


@contextlib.contextmanager
def running_engine(root: Path, *flags: str) -> Iterator[Engine]:
    """With the image `busybox`. At the end nothing of it may be left."""
    engine = Engine(root, flags)
    (root / "config").mkdir()
    engine.start()
    try:
        data = rootfs_tar()
        with engine.client as client:
            query = {"fromSrc": "-", "repo": IMAGE, "changes": ['CMD ["sh"]', "ENV PATH=/bin"]}
            with client.stream("POST", "/images/create", query=query, data=[data]) as answer:
                list(answer.objects())
        yield engine
        if engine.process is None:
            engine.start()
        engine.clean()
        until(lambda: not engine.residue(), f"nothing is left: {engine.residue()[-3:]}")
    finally:
        if engine.process is not None:
            engine.end(signal.SIGKILL)
        for mount in reversed(mounts(Path("/proc/self/mountinfo").read_text())):
            if mount.target.startswith(f"{root}/"):
                subprocess.run(["umount", "-l", mount.target], check=False)
        for path in cgroups_at(CGROUP):
            with contextlib.suppress(OSError):
                path.rmdir()
