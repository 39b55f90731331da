"""podman, containerd and Docker Engine with everything of their own: storage, state, sockets. None touches
what the host's installation of it holds, and each is given the runtime under test by its path."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import dockerd, image, leaks
from support.bundle import PREFIX, make_rootfs
from support.caller import Caller, own_directory, own_machine
from support.shim import find_shim
from support.waiting import until


@pytest.fixture(scope="session")
def _podman_store(runtime_command: str) -> Iterator[Caller]:
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    with own_directory() as path:
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
        # By itself: who removes images notes that a moment later, in files that `reset` takes away meanwhile
        podman.ok("rmi", "--all", "--force")
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


class Buildah(Caller):
    """buildah, and the runtime that `run` and `build` are to be given."""

    runtime: str


@pytest.fixture
def buildah(_podman_store: Caller, runtime_command: str) -> Iterator[Buildah]:
    """buildah with podman's store, and no container before and after."""
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed")
    before = leaks.children()
    words = _podman_store.base
    store = [
        words[words.index(name) + n] for name in ("--root", "--runroot", "--storage-driver") for n in (0, 1)
    ]
    made = Buildah(["buildah", *store], {**_podman_store.env})
    made.runtime = runtime_command
    known = made.ok("images", "--quiet").split()
    yield made
    made.ok("rm", "--all")
    if new := [name for name in made.ok("images", "--quiet").split() if name not in known]:
        made.ok("rmi", "--force", *new)
    until(lambda: not leaks.reap_orphans(before), "all have ended")
    assert not leaks.cgroups("buildah-buildah")


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
def _containerd(runtime_command: str) -> Iterator[Path]:
    for name in ("containerd", "ctr", "containerd-shim-runc-v2"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    with own_directory() as path:
        (path / "config.toml").write_text(CONTAINERD.format(path=path))
        (path / "shims").mkdir()
        shim = find_shim(runtime_command, path / "shims")
        env = {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"}
        with (path / "log").open("wb") as log:
            daemon = subprocess.Popen(
                ["containerd", "--config", path / "config.toml"], stdout=log, stderr=log, cwd=path, env=env
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
            daemon.wait(30)


def _answers(path: Path) -> bool:
    return _ctr(path)("version").returncode == 0


def _ctr(path: Path) -> Caller:
    base = ["ctr", "--address", f"{path}/containerd.sock", "--namespace", f"{PREFIX}{os.getpid()}"]
    return Caller(base, {**os.environ, "CONTAINERD_SNAPSHOTTER": "native"})


class Ctr(Caller):
    """ctr, with the runtime under test for what it runs, called by containerd's shim or within our own."""

    def __init__(self, path: Path, runtime: str, *, own_shim: bool) -> None:
        caller = _ctr(path)
        super().__init__(caller.base, caller.env)
        self.own_shim = own_shim
        self.options: tuple[str, ...] = ("--runc-binary", runtime, "--runc-root", str(path / "runc"))
        if own_shim:
            settings = path / "pyrunc.toml"
            settings.write_text(f'Root = "{path}/pyrunc"\n')
            self.options = ("--runtime", "io.containerd.pyrunc.v2", "--runtime-config-path", str(settings))

    def run(self, *words: object) -> tuple[object, ...]:
        """The words of `ctr run`, options first: `*ctr.run("--rm"), id, command`."""
        return ("run", *self.options, *words, "test.invalid/busybox:test")


@pytest.fixture(params=["containerd's shim", "our shim"])
def ctr(_containerd: Path, runtime_command: str, request: pytest.FixtureRequest) -> Iterator[Ctr]:
    before = leaks.children()
    made = Ctr(_containerd, runtime_command, own_shim=request.param == "our shim")
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
    default = Path("/run/containerd/pyrunc", own)
    if default.is_dir():
        default.rmdir()


class Docker(Caller):
    """docker, and the words that run a program where its daemon's published ports are."""

    machine: tuple[str, ...]


@pytest.fixture(scope="session")
def docker_state() -> Iterator[Path]:
    """A directory for daemons; the cgroup that they make their containers' in is gone at the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if missing := dockerd.missing():
        pytest.skip(f"not found: {missing} (tools/unpack docker.io fetches what isn't installed)")
    with own_directory() as path:
        image.tar_of(make_rootfs(path / "rootfs"), path / "busybox.tar")
        yield path
    for parent in leaks.cgroups(dockerd.CGROUP):
        parent.rmdir()


@pytest.fixture(scope="session")
def _docker(docker_state: Path, runtime_command: str) -> Iterator[Docker]:
    """A daemon whose default runtime is the one under test, and which knows runc too."""
    settings = {
        "runtimes": {"pyrunc": {"path": runtime_command}},
        "default-runtime": "pyrunc",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
    }
    with own_machine() as machine, dockerd.dockerd(machine, docker_state / "d", settings) as client:
        docker = Docker(client.base, client.env)
        docker.machine = machine
        docker.ok("import", "--change", 'CMD ["sh"]', docker_state / "busybox.tar", "busybox-test")
        yield docker


@pytest.fixture
def docker(_docker: Docker) -> Iterator[Docker]:
    """docker with an image `busybox-test` and no container, before and after."""
    before = leaks.children()
    yield _docker
    if left := _docker.ok("ps", "--all", "--quiet").split():
        _docker.ok("rm", "--force", *left)
    until(lambda: not leaks.reap_orphans(before), "the shims have ended")
    assert not [entry for path in leaks.cgroups(dockerd.CGROUP) for entry in path.iterdir() if entry.is_dir()]
