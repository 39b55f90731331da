"""SIGKILL of containerd-shim-pyrunc-v2, of what it works with, and of its own `start` and `delete`, at any
call of a container's life: what containerd does then takes everything away, and is told a sane end.

PYRUNC_TEST_FAULTS=all tries each occurrence of each call, not of the landmarks alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import faults, leaks
from support.bundle import PREFIX
from support.shim import Box, Refused, Shim, find_shim, process, shims
from support.waiting import until

from pyrunc.shim.containerd import messages
from pyrunc.shim.containerd.main import is_alive, socket_path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NAMESPACE = f"{PREFIX}crash-{os.getpid()}"
LONG = os.environ.get("PYRUNC_TEST_FAULTS") == "all"
KILLED = 137
FEW = 3  # of a call that is often made
SLEEP = ("sleep", "1000")
# What changes something that another process sees: of the shim itself, and of what it forks
OF_SHIM = frozenset({
    "clone", "epoll_wait", "mkdir", "mount", "pidfd_open", "rename", "rmdir", "sendto", "umount2", "unlink",
    "wait4", "waitid", "write",
})  # fmt: skip
OF_HELPERS = frozenset({
    "clone3", "execveat", "mkdir", "move_mount", "openat", "pidfd_send_signal", "rename", "rmdir",
    "unlink", "write",
})  # fmt: skip
OF_PROGRAMS = frozenset({
    "bind", "clone", "flock", "fork", "listen", "mkdir", "rename", "rmdir", "umount2", "unlink",
    "wait4", "write",
})  # fmt: skip
_LINE = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)


@pytest.fixture(scope="module")
def program(runtime_command: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    faults.require(runtime_command)
    return find_shim(runtime_command, tmp_path_factory.mktemp("shim"))


@pytest.fixture
def shim(program: Path) -> Iterator[Shim]:
    with shims(program, NAMESPACE) as made:
        yield made


class Place:
    """A container to be, whose root filesystem the shim mounts, and all that could be left of it."""

    def __init__(self, shim: Shim) -> None:
        self.shim = shim
        self.box = Box(shim, shim.directory)
        self.box.group = "pod"  # the same socket for all, as its next life has it
        lower = self.box.bundle.path / "lower"
        shutil.move(self.box.bundle.rootfs, lower)
        self.box.bundle.rootfs.mkdir()
        mount = {"type": "bind", "source": str(lower), "target": "", "options": ("rbind", "rw")}
        self.box.how["rootfs"] = (mount,)
        self.socket = socket_path(f"{shim.directory}/containerd.sock", NAMESPACE, self.box.group)
        self.before = leaks.children()

    def live(self) -> None:
        """A whole life, as containerd asks for it."""
        made = self.box
        given = {"bundle": str(made.bundle.path), "stdout": made.out.path, "stderr": made.err.path}
        made.pid = made("Create", **given, **made.how)["pid"]
        made("Start")
        made("Exec", exec_id="one", spec=process(*SLEEP))
        made("Start", exec_id="one")
        made("Kill", exec_id="one", signal=9)
        made("Wait", exec_id="one")
        made("Delete", exec_id="one")
        made("Kill", signal=9, all=True)
        made("Wait")
        made("Delete")

    def end(self) -> None:
        """Of a shim that lives: as far as it says there is something, it can be ended, and the shim goes."""
        try:
            self.box.end()
        except Refused as refused:
            assert "not created" in str(refused)
            self.box("Shutdown")
        until(lambda: not os.path.exists(self.socket), "the shim has ended")

    def delete(self) -> None:
        """What containerd does when it finds a shim dead. Orphans are ours to reap, as init would."""
        words = self.shim.words(self.box.id, self.box.bundle.path, "delete")
        with subprocess.Popen(
            words, cwd=self.box.bundle.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as deleting:
            until(lambda: self._reaps_until_it_ends(deleting), "delete ends")
            assert deleting.stdout is not None
            said = deleting.stdout.read()
        assert deleting.returncode == 0, said
        told = messages.decode(messages.DELETED, said)
        assert (told["pid"], told["exit_status"]) == (getattr(self.box, "pid", told["pid"]), KILLED)
        assert abs(told["exited_at"]["seconds"] - time.time()) < 60

    def _reaps_until_it_ends(self, deleting: subprocess.Popen[bytes]) -> bool:
        leaks.reap_orphans(self.before | {deleting.pid})
        return deleting.poll() is not None

    def left(self) -> list[str]:
        id = self.box.id
        places = (
            f"/run/containerd/pyrunc/{NAMESPACE}/{id}",
            self.socket,
            f"{self.socket}.d",
        )
        left = [path for path in places if os.path.lexists(path)]
        left += leaks.mounts_below(self.box.bundle.path)
        left += [str(path) for path in leaks.cgroups(id)]
        return left + [leaks.describe(pid) for pid in leaks.reap_orphans(self.before)]

    def require_nothing(self) -> None:
        with contextlib.suppress(AssertionError):
            until(lambda: not self.left(), "nothing is left", 5)
        left = self.left()
        assert not left, f"left behind: {left}"


@contextlib.contextmanager
def traced(pid: int, log: Path, *options: str) -> Iterator[None]:
    words = ["strace", "-p", str(pid), "-o", str(log), *options]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        assert b"attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.terminate()


def census(log: Path, own: int) -> dict[str, Counter[str]]:
    """How often each call is made by the process itself, and by one of the others at most."""
    each: dict[int, Counter[str]] = {}
    for pid, call in _LINE.findall(log.read_text(errors="replace")):
        each.setdefault(int(pid), Counter())[call] += 1
    found = {faults.RUNTIME: each.pop(own), faults.CHILDREN: Counter()}
    for counts in each.values():
        found[faults.CHILDREN] |= counts
    return found


def victims(log: Path, call: str) -> int:
    """How many died in this call: strace kills each, so who was to take away what the first has left may be
    the second."""
    last, found = {}, 0
    for line in log.read_text(errors="replace").splitlines():
        pid, _, words = line.partition(" ")
        if "killed by SIGKILL" in words:
            found += last.get(pid, "").startswith((f"{call}(", f"<... {call} resumed"))
        last[pid] = words.lstrip()
    return found


def chosen(counts: dict[str, Counter[str]], which: str, landmarks: frozenset[str]) -> list[faults.Fault]:
    """What the shim itself has reached can't be had in another process alone: strace counts in each."""
    found = []
    for call, total in sorted(counts[which].items()):
        if call in faults.NOT_OURS or not (LONG or call in landmarks):
            continue
        first = 1 if which == faults.RUNTIME else counts[faults.RUNTIME][call] + 1
        step = 1 if LONG else max(1, (total - first + 1) // FEW)
        found += [faults.Fault(which, call, n, "signal=KILL") for n in range(first, total + 1, step)]
    return found


def try_each(points: list[faults.Fault], crash: Callable[[faults.Fault], object]) -> None:
    problems = []
    for fault in points:
        try:
            crash(fault)
        except (AssertionError, TimeoutError) as problem:
            problems.append(f"{fault}: {problem!r}")
            print(problems[-1], flush=True)
    print(f"{len(points)} crash points, {len(problems)} of them wrong")
    assert not problems, f"{len(problems)} of {len(points)}:\n" + "\n".join(problems)
    assert len(points) > 3


def life_of(shim: Shim) -> dict[str, Counter[str]]:
    place = Place(shim)
    place.box.begin()
    pid = place.box("Connect")["shim_pid"]
    log = shim.directory / "census.log"
    with traced(pid, log, "-f"):
        place.live()
    place.box("Shutdown")
    place.require_nothing()
    return census(log, pid)


def test_the_shim_itself(shim: Shim) -> None:
    """containerd sees its connection closed, and calls `delete`."""

    def crash(fault: faults.Fault) -> None:
        place = Place(shim)
        place.box.begin()
        pid = place.box("Connect")["shim_pid"]
        inject = f"inject={fault.call}:{fault.effect}:when={fault.number}"
        with traced(pid, shim.directory / "fault.log", "-e", inject), contextlib.suppress(OSError):
            place.live()
            place.end()
        place.box.ask.close()
        for _ in range(2):
            place.delete()
        place.require_nothing()

    try_each(chosen(life_of(shim), faults.RUNTIME, OF_SHIM), crash)


def test_what_the_shim_works_with(shim: Shim) -> None:
    """A verb dies in its midst, the shim lives: it says so, and what it then says there is can be ended."""

    def crash(fault: faults.Fault) -> None:
        place = Place(shim)
        place.box.begin()
        pid = place.box("Connect")["shim_pid"]
        inject = f"inject={fault.call}:{fault.effect}:when={fault.number}"
        log = shim.directory / "fault.log"
        with traced(pid, log, "-f", "-e", inject), contextlib.suppress(Refused):
            place.live()
        place.end()
        if victims(log, fault.call) < 2:
            place.require_nothing()
        for _ in range(2):
            place.delete()
        place.require_nothing()

    try_each(chosen(life_of(shim), faults.CHILDREN, OF_HELPERS), crash)


class Program:
    """`start` or `delete` itself, under strace."""

    def __init__(self, shim: Shim, verb: str) -> None:
        self.shim, self.verb, self.log = shim, verb, shim.directory / "program.log"

    def run(self, place: Place, *options: str) -> None:
        bundle = place.box.bundle.path
        words = ["strace", "-D", "-qq", "-o", str(self.log), *options]
        words += self.shim.words(place.box.id, bundle, self.verb)
        env = {**os.environ, "TTRPC_ADDRESS": str(self.shim.sink.path)}
        with subprocess.Popen(
            words,
            cwd=bundle,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            until(lambda: place._reaps_until_it_ends(process), "it ends")

    def points(self, place: Place) -> list[faults.Fault]:
        self.run(place)
        calls = Counter(re.findall(r"^(\w+)\(", self.log.read_text(), re.MULTILINE))
        return chosen({faults.RUNTIME: calls}, faults.RUNTIME, OF_PROGRAMS)

    def crash(self, place: Place, fault: faults.Fault) -> None:
        self.run(place, "-e", f"inject={fault.call}:{fault.effect}:when={fault.number}")


def test_its_start(shim: Shim) -> None:
    """containerd is told nothing, and so has nobody to ask. The next `start` finds no obstacle."""
    program = Program(shim, "start")

    def fresh() -> Place:
        place = Place(shim)
        place.box.bundle.config["annotations"] = {"io.kubernetes.cri.sandbox-id": place.box.group}
        place.box.bundle.write()
        return place

    def crash(fault: faults.Fault) -> None:
        place = fresh()
        program.crash(place, fault)
        for _ in range(2):
            place.delete()
        if not is_alive(place.socket):
            place.require_nothing()
        again(place)

    def again(place: Place) -> None:
        place.box.begin()
        place.live()
        place.end()
        place.require_nothing()

    first = fresh()
    points = program.points(first)
    again(first)
    try_each(points, crash)


def test_its_delete(shim: Shim) -> None:
    """That of a shim which was killed."""
    program = Program(shim, "delete")

    def dead() -> Place:
        place = Place(shim)
        place.box.start()
        os.kill(place.box("Connect")["shim_pid"], 9)
        place.box.ask.close()
        return place

    def crash(fault: faults.Fault) -> None:
        place = dead()
        program.crash(place, fault)
        for _ in range(2):
            place.delete()
        place.require_nothing()

    try_each(program.points(dead()), crash)
