"""podman and containerd with everything of their own: storage, state, sockets. Neither touches what the
host's installation of them holds, and both are given the runtime under test by its path."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support import image, leaks
from support.bundle import PREFIX, make_rootfs
from support.console import Terminal, open_terminal
from support.waiting import until

OWN_SESSION = ("setsid", "--ctty", "--wait")


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """Short: sockets are made below it."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    path.chmod(0o755)
    before = leaks.children()
    try:
        yield path
    finally:
        until(lambda: not leaks.reap_orphans(before), f"no process is left of {path}")
        for target in reversed(leaks.mounts_below(path)):
            subprocess.run(["umount", target], check=True)
        shutil.rmtree(path)


class Caller:
    """A program that calls the runtime, with the options that every call of it needs."""

    def __init__(self, base: Sequence[str], env: dict[str, str]) -> None:
        self.base, self.env = [*base], env

    def __call__(
        self, *words: object, input: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.base, *map(str, words)], input=input, capture_output=True, text=True, timeout=timeout,
            env=self.env,
        )  # fmt: skip

    def ok(self, *words: object, input: str | None = None, timeout: float = 60) -> str:
        done = self(*words, input=input, timeout=timeout)
        assert done.returncode == 0, f"{words}: rc {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def on_terminal(self, *words: object) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
        """The program under a user's terminal of 33 rows and 111 columns."""
        with open_terminal(33, 111) as (terminal, slave):
            process = subprocess.Popen(
                [*OWN_SESSION, *self.base, *map(str, words)], stdin=slave, stdout=slave, stderr=slave,
                start_new_session=True, env=self.env,
            )  # fmt: skip
            try:
                yield terminal, process
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()


@pytest.fixture(scope="session")
def _podman_store(runtime_command: str) -> Iterator[Caller]:
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    with _directory() as path:
        # Its defaults would read the host's configuration, and ask for limits that root here may not set.
        (path / "containers.conf").write_text(
            '[containers]\nlog_driver = "k8s-file"\n'
            'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            '[engine]\nevents_logger = "file"\n'
        )
        (path / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{path}/root"\nrunroot = "{path}/run"\n'
        )
        env = {
            **os.environ, "CONTAINERS_CONF": str(path / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(path / "storage.conf"),
        }  # fmt: skip
        podman = Caller(
            [
                "podman", "--root", f"{path}/root", "--runroot", f"{path}/run", "--tmpdir", f"{path}/tmp",
                "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", runtime_command,
            ],
            env,
        )  # fmt: skip
        archive = image.tar_of(make_rootfs(path / "rootfs"), path / "busybox.tar")
        podman.ok("import", "--change", "CMD=sh", archive, "busybox-test")
        yield podman
        podman.ok("system", "reset", "--force")


@pytest.fixture
def podman(_podman_store: Caller) -> Iterator[Caller]:
    """podman with an image `busybox-test` and no container, before and after."""
    before = leaks.children()
    yield _podman_store
    _podman_store.ok("rm", "--all", "--force", "--time", "0")
    assert _podman_store.ok("ps", "--all", "--quiet") == ""
    until(lambda: not leaks.reap_orphans(before), "conmon has ended")
    assert not leaks.cgroups("libpod-")


CONTAINERD = """version = 2
root = "{path}/root"
state = "{path}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{path}/containerd.sock"
[ttrpc]
  address = "{path}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{path}/opt"
"""


@pytest.fixture(scope="session")
def _containerd() -> Iterator[Path]:
    for name in ("containerd", "ctr", "containerd-shim-runc-v2"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    with _directory() as path:
        (path / "config.toml").write_text(CONTAINERD.format(path=path))
        with (path / "log").open("wb") as log:
            daemon = subprocess.Popen(
                ["containerd", "--config", path / "config.toml"], stdout=log, stderr=log, cwd=path
            )
        try:
            until(lambda: (path / "containerd.sock").exists() and _answers(path), "containerd answers", 30)
            layout = image.write_layout(
                make_rootfs(path / "rootfs"), path / "image.tar", "test.invalid/busybox:test",
                {"Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin"]},
            )  # fmt: skip
            _ctr(path).ok("image", "import", "--snapshotter", "native", layout)
            yield path
        finally:
            daemon.terminate()
            daemon.wait(20)


def _answers(path: Path) -> bool:
    return _ctr(path)("version").returncode == 0


def _ctr(path: Path) -> Caller:
    base = ["ctr", "--address", f"{path}/containerd.sock", "--namespace", f"{PREFIX}{os.getpid()}"]
    return Caller(base, {**os.environ, "CONTAINERD_SNAPSHOTTER": "native"})


class Ctr(Caller):
    """ctr, with the runtime under test for what it runs."""

    def __init__(self, path: Path, runtime: str) -> None:
        caller = _ctr(path)
        super().__init__(caller.base, caller.env)
        self.options = ("--runc-binary", runtime, "--runc-root", str(path / "runc"))

    def run(self, *words: object) -> tuple[object, ...]:
        """The words of `ctr run`, options first: `*ctr.run("--rm"), id, command`."""
        return ("run", *self.options, *words, "test.invalid/busybox:test")


@pytest.fixture
def ctr(_containerd: Path, runtime_command: str) -> Iterator[Ctr]:
    before = leaks.children()
    made = Ctr(_containerd, runtime_command)
    yield made
    for task in made.ok("task", "list", "--quiet").split():
        made("task", "delete", "--force", task)
    for container in made.ok("container", "list", "--quiet").split():
        made.ok("container", "delete", container)
    until(lambda: not leaks.reap_orphans(before), "the shims have ended")
    own = made.base[-1]
    left = [path for path in leaks.cgroups(own) if path.name != own]
    parents = [path for path in leaks.cgroups(own) if path.name == own]
    inside = [str(entry) for path in parents for entry in path.iterdir() if entry.is_dir()]
    assert not left and not inside, (left, inside)
    for path in parents:  # one for each namespace of containerd's, which nobody removes
        path.rmdir()
