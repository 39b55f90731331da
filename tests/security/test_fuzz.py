"""Documents that nobody would write: to each an answer, in time, no traceback and no half container.

PYRUNC_TEST_FUZZ=N, as `make test-fuzz` has it, tries N times as many.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import leaks
from support.bundle import Bundle
from support.mutations import Place, json_values, mutate
from support.runtime import Done, Runtime
from support.waiting import until

from pyrunc.errors import PyruncError
from pyrunc.runtime.create import CreateRequest, plan

MORE = int(os.environ.get("PYRUNC_TEST_FUZZ", "1"))
DOCUMENTS = Path(__file__).parents[1] / "unit/oci/documents"
REAL = {path.stem: json.loads(path.read_text()) for path in sorted(DOCUMENTS.glob("*.json"))}

PROCESS = {
    "terminal": False,
    "user": {"uid": 1, "gid": 1, "umask": 18, "additionalGids": [5, 10]},
    "args": ["true"],
    "env": ["PATH=/bin", "TERM=xterm", "HOME=/"],
    "cwd": "/",
    "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                     "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
    "noNewPrivileges": True,
    "oomScoreAdj": 100,
    "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "scheduler": {"policy": "SCHED_OTHER", "nice": 1, "flags": []},
    "execCPUAffinity": {"initial": "0", "final": "0"},
}  # fmt: skip
RESOURCES = {
    "memory": {"limit": 1 << 28, "swap": -1, "reservation": 1 << 20, "checkBeforeUpdate": True},
    "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 100},
    "blockIO": {"weight": 100, "weightDevice": [{"major": 8, "minor": 0, "weight": 100}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
    "devices": [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
    "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
    "unified": {"memory.high": "max"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def rate(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """To be called for each case; how many a minute is printed."""
    count, begun = [0], time.monotonic()

    def case() -> None:
        count[0] += 1

    yield case
    print(f"{count[0]} cases, {60 * count[0] / (time.monotonic() - begun):.0f} a minute")


def several(examples: int) -> Any:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples * MORE, deadline=None, suppress_health_check=checks, database=None)


def require_answer(done: Done, *failures: int) -> None:
    """Success, or one error that is none of ours."""
    assert done.returncode in (0, *failures), done
    assert "internal error" not in done.stderr and "Traceback" not in done.stderr, done
    errors = [line for line in done.complaints if "level=error" in line]
    assert len(errors) == (1 if done.returncode else 0), done


@st.composite
def documents(
    draw: st.DrawFn, base: dict[str, Any], is_fixed: Callable[[Place], bool] = lambda _place: False
) -> Any:
    document = copy.deepcopy(base)
    mutate(draw, document, 4, is_fixed)
    return document


@pytest.mark.parametrize("name", REAL)
@several(100)
@given(data=st.data())
def test_plans(work: Path, rate: Callable[[], None], name: str, data: st.DataObject) -> None:
    """All that is decided of a launch, and every sentence that `pyrunc plan` has for it."""
    rate()
    document = data.draw(documents(REAL[name]))
    (work / "config.json").write_text(json.dumps(document))
    (work / "rootfs").mkdir(exist_ok=True)
    try:
        planned = plan(CreateRequest(id="x", bundle=str(work), state_root=str(work / "state")))
    except PyruncError as error:
        assert str(error)
        return
    for op in (*planned.launch.prepare, *planned.launch.child):
        assert op.describe()


def _of_the_hosts(place: Place) -> bool:
    """What would let a launch touch more than its own: another root, namespaces that are the host's."""
    return place[0] == "root" or place == ("linux",) or place[:2] == ("linux", "namespaces")


def rich(bundle: Bundle) -> dict[str, Any]:
    bundle.bind(bundle.rootfs / "etc", "/bound", "ro")
    bundle.process.update({key: value for key, value in PROCESS.items() if key != "args"})
    bundle.linux["resources"] = copy.deepcopy(RESOURCES)
    bundle.linux["devices"] = [
        {"path": "/dev/thing", "type": "c", "major": 1, "minor": 3, "uid": 1, "gid": 1}
    ]
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                      "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}],
    }  # fmt: skip
    bundle.config["hooks"] = {"createContainer": [{"path": "/bin/true", "args": ["true"], "timeout": 5}]}
    bundle.config["annotations"] = {"org.example": "x"}
    return copy.deepcopy(bundle.config)


def test_creates(runtime: Runtime, bundle: Bundle, rate: Callable[[], None]) -> None:
    base = rich(bundle)

    @several(60)
    @given(documents(base, _of_the_hosts))
    def create(document: Any) -> None:
        rate()
        bundle.config = document
        (bundle.path / "config.json").write_text(json.dumps(document))
        done = runtime("create", "--bundle", bundle.path, runtime.remember(bundle.id))
        require_answer(done, 1)
        if done.returncode == 0:
            assert runtime.status(bundle) == "created"
            runtime._delete_and_reap(bundle.id)
        runtime.require_clean()

    create()


def test_execs(runtime: Runtime, bundle: Bundle, rate: Callable[[], None]) -> None:
    runtime.launch(bundle, "sleep", "1000")
    init = runtime.pid(bundle)
    procs = next(path / "cgroup.procs" for path in leaks.cgroups(bundle.id))
    file = runtime.work / "process.json"

    @several(60)
    @given(documents(PROCESS, lambda place: place[0] in ("args", "terminal")))
    def execute(document: Any) -> None:
        rate()
        file.write_text(json.dumps(document))
        require_answer(runtime("exec", "--process", file, bundle.id), 255)
        until(lambda: procs.read_text().split() == [str(init)], "only the init is left")

    execute()
    assert runtime.exec(bundle, "echo", "well").ok().stdout == "well\n"


def test_updates(runtime: Runtime, running: Bundle, rate: Callable[[], None]) -> None:
    file = runtime.work / "resources.json"

    @several(60)
    @given(documents(RESOURCES) | json_values)
    def update(document: Any) -> None:
        rate()
        file.write_text(json.dumps(document))
        require_answer(runtime("update", "--resources", file, running.id), 1)
        assert runtime.status(running) == "running"

    update()


def test_states(runtime: Runtime, bundle: Bundle, rate: Callable[[], None]) -> None:
    """A state that is damaged is told of, and keeps nobody from seeing the others. Which processes and
    cgroups it names stays as it was: what it says there is done."""
    runtime.launch(bundle, "sleep", "1000")
    file = runtime.root / bundle.id / "state.json"
    whole = file.read_bytes()
    theirs = ("pid", "start_time", "cgroup_paths", "systemd_unit", "resctrl_groups", "notify_socket")
    damaged = documents(json.loads(whole), lambda place: place[0] in theirs).map(json.dumps)
    parts = st.integers(0, len(whole)).map(lambda size: whole[:size].decode())

    @several(40)
    @example(
        whole.decode().replace('"bundle":"', '"bundle":"\\ud800').replace('"bundle": "', '"bundle": "\\ud800')
    )
    @given(damaged | parts | json_values.map(json.dumps))
    def ask(text: str) -> None:
        rate()
        file.write_text(text)
        assert runtime("list").ok()
        for words in (("state",), ("start",), ("exec", bundle.id, "true"), ("ps",), ("pause",), ("resume",)):
            done = runtime(*words, *(() if words[1:] else (bundle.id,)))
            require_answer(done, 255 if words[0] == "exec" else 1)

    try:
        ask()
    finally:
        file.write_bytes(whole)
    runtime.exec(bundle, "true").ok()


class Peer:
    """What may lie at the name of a console socket, and what listens there may do."""

    def __init__(self, path: Path, kind: str) -> None:
        self.kind, self.path = kind, path
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._is_over = threading.Event()
        if kind in ("nothing", "file", "directory", "fifo", "loop"):
            self._make()
            return
        kinds = {"datagram": socket.SOCK_DGRAM, "packets": socket.SOCK_SEQPACKET}
        self._listener = self._keep(socket.socket(socket.AF_UNIX, kinds.get(kind, socket.SOCK_STREAM)))
        with parent_of(path) as name:
            self._listener.bind(name)
            if kind == "datagram" or kind == "deaf":
                return
            self._listener.listen(0)
            if kind == "full":
                while self._keep(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)):
                    if self._open[-1].connect_ex(name) == errno.EAGAIN:
                        break
        if kind in ("closes", "talks", "blind", "late"):
            self._listener.settimeout(0.05)
            self._thread.start()

    def _keep(self, made: socket.socket) -> socket.socket:
        self._open.append(made)
        return made

    def _make(self) -> None:
        if self.kind == "file":
            self.path.write_text("no socket")
        elif self.kind == "directory":
            self.path.mkdir()
        elif self.kind == "fifo":
            os.mkfifo(self.path)
        elif self.kind == "loop":
            self.path.symlink_to(self.path)

    def _serve(self) -> None:
        """Until it is closed."""
        while not self._is_over.is_set():
            with contextlib.suppress(TimeoutError):
                connection = self._keep(self._listener.accept()[0])
                if self.kind == "talks":
                    connection.sendall(os.urandom(4096))
                elif self.kind == "blind":  # no room for a descriptor
                    connection.recv(4096)
                elif self.kind == "late":
                    time.sleep(0.1)
                    connection.recvmsg(4096, 64)
                if self.kind != "talks":
                    connection.close()

    def close(self) -> None:
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()
        for item in self._open:
            item.close()
        if self.path.is_dir() and not self.path.is_symlink():
            self.path.rmdir()
        else:
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def parent_of(path: Path) -> Iterator[str]:
    """A name of `path` that is short enough for an address."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


PEERS = (
    "nothing", "file", "directory", "fifo", "loop", "datagram", "packets", "deaf", "full", "never", "closes",
    "talks", "blind", "late",
)  # fmt: skip


@pytest.mark.parametrize("kind", PEERS)
def test_console_peers(runtime: Runtime, bundle: Bundle, rate: Callable[[], None], kind: str) -> None:
    """Of create and of exec. Nobody has to take the terminal, and who talks is not listened to."""
    socket_path = runtime.work / "console"
    options = ("--console-socket", socket_path)
    bundle.process["terminal"] = True
    for _ in range(MORE):
        for verb in ("create", "exec"):
            rate()
            if verb == "exec":
                bundle.process["terminal"] = False
                runtime.launch(bundle, "sleep", "1000")
            peer = Peer(socket_path, kind)
            try:
                if verb == "create":
                    bundle.process["terminal"] = True
                    done = runtime.create(bundle, "sleep", "1000", options=options)
                else:
                    done = runtime.exec(bundle, "true", options=("--tty", "--detach", *options))
                require_answer(done, 1, 255)
                if kind != "closes":  # it may be gone before the terminal is sent, or after
                    assert (done.returncode == 0) == (kind in ("never", "talks", "blind", "late")), done
            finally:
                peer.close()
            if verb == "exec" or not done.returncode:
                runtime._delete_and_reap(bundle.id)
            runtime.require_clean()
