"""What the kubelet does, by containerd's CRI plugin: pods and their containers, by our shim and by runc's.

containerd has a network of its own, with Debian's CNI plugins, and images that are made here.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import cri as api
from support import image, leaks
from support.bundle import PREFIX, make_rootfs
from support.caller import own_directory, own_machine
from support.cri import Cri, Stream, mapping
from support.netns import Namespace
from support.shim import find_shim
from support.waiting import until

CNI = Path("/usr/lib/cni")
BUSYBOX, PAUSE = "test.invalid/busybox:test", "test.invalid/pause:test"
CGROUP = f"{PREFIX}cri-{os.getpid()}"
CONFIG = """version = 2
root = "{path}/root"
state = "{path}/state"
[grpc]
  address = "{path}/containerd.sock"
[ttrpc]
  address = "{path}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{path}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{path}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "pyrunc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pyrunc]
      runtime_type = "io.containerd.pyrunc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "test",
    "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.213.0.0/24"}}],
}
_numbers = itertools.count(1)


class Containerd:
    """A daemon that can be stopped and begun again, in a network and a /run of its own."""

    def __init__(self, path: Path, machine: tuple[str, ...], shims: Path) -> None:
        self.path, self.machine = path, machine
        self.env = {**os.environ, "PATH": f"{shims}:{os.environ['PATH']}"}
        self.daemon: subprocess.Popen[bytes] | None = None
        self.begin()

    def begin(self) -> None:
        with (self.path / "log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [*self.machine, "containerd", "--config", f"{self.path}/config.toml"],
                stdout=log, stderr=log, cwd=self.path, env=self.env,
            )  # fmt: skip
        self.cri = Cri(f"{self.path}/containerd.sock")
        until(self._is_ready, "containerd is ready", 60)

    def _is_ready(self) -> bool:
        with contextlib.suppress(Exception):
            conditions = self.cri("Status")["status"]["conditions"]
            return bool(conditions) and all(condition["status"] for condition in conditions)
        return False

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self.daemon is not None
        self.cri.close()
        self.daemon.send_signal(number)
        self.daemon.wait(30)

    def ctr(self, *words: object) -> str:
        command = [
            "ctr",
            "--address",
            f"{self.path}/containerd.sock",
            "--namespace",
            "k8s.io",
            *map(str, words),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def connect(self, address: tuple[str, int]) -> socket.socket:
        """To a port on its loopback."""
        namespace = Namespace(f"/proc/{self.machine[-2].partition('=')[2]}/ns/net")
        try:
            with namespace.entered():
                return socket.create_connection(address, 10)
        finally:
            namespace.close()


@pytest.fixture(scope="module")
def containerd(runtime_command: str) -> Iterator[Containerd]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    pytest.importorskip("grpc")
    for name in ("containerd", "ctr", "containerd-shim-runc-v2", "runc"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    if not (CNI / "ptp").exists():
        pytest.skip(f"there are no network plugins in {CNI}")
    with own_directory() as path, own_machine() as machine:
        (path / "shims").mkdir()
        shim = find_shim(runtime_command, path / "shims")
        (path / "config.toml").write_text(CONFIG.format(path=path, pause=PAUSE, cni=CNI))
        (path / "cni").mkdir()
        (path / "cni" / "10-test.conflist").write_text(json.dumps(NETWORK))
        made = Containerd(path, machine, shim.parent)
        try:
            rootfs = make_rootfs(path / "rootfs")
            for name, command in ((BUSYBOX, ["sh"]), (PAUSE, ["sleep", "100000"])):
                config = {"Cmd": command, "Env": ["PATH=/bin:/usr/bin"]}
                made.ctr("image", "import", image.write_layout(rootfs, path / "image.tar", name, config))
            yield made
        finally:
            made.end()


class Pod:
    def __init__(self, containerd: Containerd, handler: str, **namespaces: Any) -> None:
        self.containerd, number = containerd, next(_numbers)
        self.logs = containerd.path / f"logs-{number}"
        self.logs.mkdir()
        self.config = {
            "metadata": {"name": f"pod-{number}", "uid": f"uid-{number}", "namespace": "test"},
            "hostname": "" if namespaces.get("network") == api.NODE else f"pod-{number}",
            "log_directory": str(self.logs),
            "labels": mapping({"app": "test"}),
            "linux": {
                "cgroup_parent": f"/{CGROUP}",
                "security_context": {"namespace_options": {"pid": api.CONTAINER, **namespaces}},
            },
        }
        self.namespaces = {"pid": api.CONTAINER, **namespaces}
        self.containers: list[str] = []
        self.id: str = self("RunPodSandbox", config=self.config, runtime_handler=handler)["pod_sandbox_id"]

    def __call__(self, method: str, **fields: Any) -> dict[str, Any]:
        return self.containerd.cri(method, **fields)

    def create(self, *command: str, **fields: Any) -> str:
        number = next(_numbers)
        linux = fields.pop("linux", {})
        linux.setdefault("security_context", {})["namespace_options"] = self.namespaces
        config = {
            "metadata": {"name": f"c{number}"}, "image": {"image": BUSYBOX},
            "command": command or ("sleep", "100000"), "log_path": f"{number}.log", "linux": linux, **fields,
        }  # fmt: skip
        made = self("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        self.containers.append(made["container_id"])
        self.log = self.logs / f"{number}.log"
        return self.containers[-1]

    def start(self, *command: str, **fields: Any) -> str:
        made = self.create(*command, **fields)
        self("StartContainer", container_id=made)
        return made

    def status(self, container: str) -> dict[str, Any]:
        status: dict[str, Any] = self("ContainerStatus", container_id=container)["status"]
        return status

    def exec(self, container: str, *command: str, **fields: Any) -> dict[str, Any]:
        return self("ExecSync", container_id=container, cmd=command, **fields)

    def ask(self, container: str, *command: str) -> str:
        done = self.exec(container, *command)
        assert done["exit_code"] == 0, done
        return done["stdout"].decode().strip()

    def ends(self, container: str) -> dict[str, Any]:
        until(lambda: self.status(container)["state"] == api.EXITED, "it has ended", 20)
        return self.status(container)

    def remove(self) -> None:
        for container in self.containers:
            self("StopContainer", container_id=container)
            self("RemoveContainer", container_id=container)
        self("StopPodSandbox", pod_sandbox_id=self.id)
        self("RemovePodSandbox", pod_sandbox_id=self.id)


@pytest.fixture(params=["pyrunc", "runc"])
def new_pod(containerd: Containerd, request: pytest.FixtureRequest) -> Iterator[Any]:
    before = leaks.children()
    pods: list[Pod] = []

    def make(**namespaces: Any) -> Pod:
        pods.append(Pod(containerd, request.param, **namespaces))
        return pods[-1]

    yield make
    for pod in pods:
        pod.remove()
    assert containerd.cri("ListPodSandbox")["items"] == ()
    assert containerd.ctr("task", "list", "--quiet") == ""
    until(lambda: not (leaks.reap_orphans(before) - {containerd.daemon.pid}), "the shims have ended")
    for path in leaks.cgroups(CGROUP):
        left = [entry for entry in path.iterdir() if entry.is_dir()]
        assert not left or request.param == "runc", path
        for entry in left:  # of a shim that is killed runc's delete leaves some, now and then
            with contextlib.suppress(FileNotFoundError):  # which may come late
                entry.rmdir()
        path.rmdir()


def test_a_life(new_pod):
    pod = new_pod()
    made = pod.create("sh", "-c", "echo hello; echo error >&2; exit 3")
    assert pod.status(made)["state"] == api.CREATED
    pod("StartContainer", container_id=made)
    ended = pod.ends(made)
    assert (ended["exit_code"], ended["reason"]) == (3, "Error")
    assert ended["finished_at"] and ended["started_at"]
    lines = [line.split(" ", 3)[1:] for line in pod.log.read_text().splitlines()]
    assert sorted(lines) == [["stderr", "F", "error"], ["stdout", "F", "hello"]]


def test_exec_sync(new_pod):
    pod = new_pod()
    made = pod.start(envs=({"key": "A", "value": "b"},))
    done = pod.exec(made, "sh", "-c", "echo $A; echo error >&2; exit 7")
    assert (done["stdout"], done["stderr"], done["exit_code"]) == (b"b\n", b"error\n", 7)
    with pytest.raises(Exception, match="no such file or directory"):
        pod.exec(made, "/no/such")
    with pytest.raises(Exception, match=r"timeout|deadline|DEADLINE"):
        pod.exec(made, "sleep", "100", timeout=1)
    assert pod.ask(made, "pidof", "sleep") == "1"


def test_stop_with_patience_and_without(new_pod):
    pod = new_pod()
    script = "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done"
    made = pod.start("sh", "-c", script)
    until(lambda: "up" in pod.log.read_text(), "it is up")
    pod("StopContainer", container_id=made, timeout=20)
    assert pod.status(made)["exit_code"] == 4
    stubborn = pod.start()
    pod("StopContainer", container_id=stubborn, timeout=0)
    assert pod.status(stubborn)["exit_code"] == 137


def test_two_containers_share_a_pod(new_pod):
    pod = new_pod(pid=api.POD)
    first, second = pod.start("sleep", "11111"), pod.start("sleep", "22222")
    for kind in ("net", "ipc", "uts", "pid"):
        link = f"/proc/self/ns/{kind}"
        assert pod.ask(first, "readlink", link) == pod.ask(second, "readlink", link)
    assert pod.ask(first, "readlink", "/proc/self/ns/mnt") != pod.ask(second, "readlink", "/proc/self/ns/mnt")
    seen = pod.ask(first, "ps")
    assert "sleep 11111" in seen and "sleep 22222" in seen
    shims = {leaks.parent_of(pid) for pid in tasks(pod)}
    assert len(shims) == 1, "a pod has one shim"
    pod("StopContainer", container_id=first)
    assert pod.ask(second, "echo", "still here") == "still here"


def tasks(pod: Pod) -> list[int]:
    rows = (line.split() for line in pod.containerd.ctr("task", "list").splitlines()[1:])
    return [int(pid) for name, pid, _ in rows if name in (pod.id, *pod.containers)]


def test_a_network_for_each_pod(new_pod):
    one, two = new_pod(), new_pod()
    address = one("PodSandboxStatus", pod_sandbox_id=one.id)["status"]["network"]["ip"]
    assert address.startswith("10.213.0.")
    server = one.start("sh", "-c", "while :; do echo hello | nc -l -p 80; done")
    client = two.start()
    assert address in one.ask(server, "ip", "-4", "addr")
    until(lambda: ":80 " in one.ask(server, "netstat", "-lnt"), "it listens")
    assert two.ask(client, "sh", "-c", f"nc {address} 80 </dev/null") == "hello"


def test_the_hosts_network(new_pod):
    pod = new_pod(network=api.NODE)
    made = pod.start()
    namespace = os.readlink(f"/proc/{pod.containerd.daemon.pid}/ns/net")
    assert pod.ask(made, "readlink", "/proc/self/ns/net") == namespace


def test_limits_stats_and_update(new_pod):
    pod = new_pod()
    made = pod.start(linux={"resources": {"memory_limit_in_bytes": 64 << 20, "cpu_shares": 512}})
    (pid,) = set(tasks(pod)) - {pause_of(pod)}
    assert limit_of(pid) == 64 << 20
    pod("UpdateContainerResources", container_id=made, linux={"memory_limit_in_bytes": 80 << 20})
    assert limit_of(pid) == 80 << 20
    stats = pod("ContainerStats", container_id=made)["stats"]
    assert stats["cpu"]["usage_core_nano_seconds"]["value"] > 0
    assert stats["memory"]["working_set_bytes"]["value"] > 0


def pause_of(pod: Pod) -> int:
    rows = (line.split() for line in pod.containerd.ctr("task", "list").splitlines()[1:])
    return next(int(pid) for name, pid, _ in rows if name == pod.id)


def limit_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return int(Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
    return int(Path(f"/sys/fs/cgroup{path}/memory.max").read_text())


def test_want_of_memory_is_told(new_pod):
    """Of one process of several: runc's shim says nothing any more of a cgroup that has gone with it."""
    pod = new_pod()
    made = pod.start(
        "sh", "-c", "tail /dev/zero; sleep 1000",
        linux={"resources": {"memory_limit_in_bytes": 16 << 20}},
    )  # fmt: skip
    until(lambda: pod.status(made)["reason"] == "OOMKilled", "it is killed, and why is known", 30)


def test_exec_by_a_stream(new_pod):
    pod = new_pod()
    made = pod.start()
    asked = pod(
        "Exec", container_id=made, cmd=("sh", "-c", "cat; exit 5"), stdin=True, stdout=True, stderr=True
    )
    stream = Stream(asked["url"], pod.containerd.connect)
    stream.send(Stream.STDIN, b"through\n")
    stream.expect(b"through\n")
    stream.close()
    asked = pod(
        "Exec", container_id=made, cmd=("sh", "-c", "tty; read x; exit $x"), tty=True, stdin=True, stdout=True
    )
    stream = Stream(asked["url"], pod.containerd.connect)
    stream.expect(b"/dev/pts/0")
    stream.send(Stream.STDIN, b"6\n")
    assert stream.exit_code() == 6
    stream.close()


def test_attach(new_pod):
    pod = new_pod()
    made = pod.start("sh", "-c", "while read line; do echo got $line; done", stdin=True)
    stream = Stream(pod("Attach", container_id=made, stdin=True, stdout=True)["url"], pod.containerd.connect)
    stream.send(Stream.STDIN, b"one\n")
    stream.expect(b"got one\n")
    stream.close()
    until(lambda: "got one" in pod.log.read_text(), "it is logged")
    assert pod.status(made)["state"] == api.RUNNING


def test_containers_outlive_containerd(new_pod):
    """It is killed while they run: begun again it finds them, and hears of what ended in between."""
    pod = new_pod()
    made = pod.start()
    ending = pod.start("sh", "-c", "sleep 2; exit 6")
    pids = tasks(pod)
    pod.containerd.end(signal.SIGKILL)
    try:
        until(lambda: sum(leaks.state_of(pid) == "X" for pid in pids) == 1, "one has ended", 20)
    finally:
        pod.containerd.begin()
    assert pod.status(made)["state"] == api.RUNNING
    assert pod.ask(made, "echo", "hello") == "hello"
    assert pod.ends(ending)["exit_code"] == 6


def test_a_shim_that_is_killed(new_pod):
    """containerd calls `delete`, and can make the pod anew."""
    pod = new_pod()
    made = pod.start()
    pids = tasks(pod)
    (shim,) = {leaks.parent_of(pid) for pid in pids}
    os.kill(shim, signal.SIGKILL)
    until(lambda: not (leaks.reap_orphans(set()) & {*pids}), "its containers have ended", 20)
    assert pod.ends(made)["exit_code"] in (137, 255)
