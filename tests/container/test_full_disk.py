"""No room where the runtime writes: one line says so, nothing half-made stays, what takes away works."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.bundle import PREFIX, Bundle
from support.host import needs_program
from support.marks import deviation
from support.runtime import Done, Runtime

FULL, TOO_LARGE, READONLY = "no space left on device", "file too large", "read-only file system"
PAGE = os.sysconf("SC_PAGE_SIZE")


class Disk:
    """A tmpfs that can be filled to the last page. Not below `work`, where mounts are looked for that a
    container has left."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))

    def mount(self, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path], check=True)

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def umount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def fill(self) -> None:
        file = (self.path / "filler").open("wb", buffering=0)
        with file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(PAGE))
        assert os.statvfs(self.path).f_bfree == 0

    def empty(self) -> None:
        (self.path / "filler").unlink()

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path))


@pytest.fixture
def unmounted() -> Iterator[Disk]:
    made = Disk()
    yield made
    while os.path.ismount(made.path):
        made.umount()
    made.path.rmdir()


@pytest.fixture
def disk(unmounted: Disk) -> Disk:
    """Of 4 MiB, beside the runtime's state."""
    unmounted.mount("size=4m")
    return unmounted


@pytest.fixture
def state_disk(unmounted: Disk, runtime: Runtime) -> Iterator[Disk]:
    """The state root is a disk of its own, of a size that the test chooses."""
    before, runtime.root = runtime.root, unmounted.path
    yield unmounted
    if os.path.ismount(unmounted.path):
        unmounted.remount("rw")
        runtime.clean()
    runtime.root = before


def says_once(done: Done, why: str, status: int = 1) -> None:
    done.failed(why, status=status)
    assert len(done.complaints) == 1, done
    assert "internal error" not in done.stderr, done


def rooms() -> list[str]:
    """Of a disk on which a container's state soon fits: by its pages, by its inodes."""
    return [f"size={n * PAGE}" for n in range(1, 4)] + [f"size=1m,nr_inodes={n}" for n in range(1, 8)]


@deviation("runc", reason="does not say why")
@pytest.mark.parametrize("verb", ["create", "run"])
def test_little_room_for_the_state(runtime: Runtime, bundle: Bundle, state_disk: Disk, verb: str) -> None:
    """More and more of it, until there is enough: before that nothing is there afterwards."""
    name = runtime.prepare(bundle, "true")
    outcomes = []
    for room in rooms():
        state_disk.mount(room)
        done = runtime(verb, "--bundle", bundle.path, name)
        outcomes.append(done.returncode)
        if done.returncode:
            says_once(done, FULL)
            assert state_disk.names() == []
            runtime.require_clean()
        else:
            runtime.clean()
        state_disk.umount()
    for part in (outcomes[:3], outcomes[3:]):
        assert part == sorted(part, reverse=True) and set(part) == {0, 1}, outcomes


@deviation("runc", reason="does not say why")
def test_a_disk_that_fills_up_under_containers(
    runtime: Runtime, new_bundle: Callable[[], Bundle], state_disk: Disk
) -> None:
    """Nobody needs room for what is there already: all works but to make another one."""
    waiting, bundle, late = (new_bundle() for _ in range(3))
    state_disk.mount("size=64k")
    runtime.create(waiting, "sleep", "1000").ok()
    runtime.launch(bundle, "sleep", "1000")
    state_disk.fill()
    before = state_disk.names()
    says_once(runtime.create(late, "true"), FULL)
    assert state_disk.names() == before

    assert runtime.start(waiting).ok().stderr == ""
    assert {runtime.status(item) for item in (waiting, bundle)} == {"running"}
    assert runtime.exec(bundle, "echo", "x").ok().stdout == "x\n"
    runtime("pause", bundle.id).ok()
    runtime("resume", bundle.id).ok()
    runtime("update", "--pids-limit", "50", bundle.id).ok()
    for words in (("list",), ("ps", bundle.id), ("events", "--stats", bundle.id)):
        assert runtime(*words).ok().stdout
    runtime.delete(waiting, force=True).ok()
    runtime.stop(bundle)
    assert runtime.delete(bundle).ok().stderr == ""
    assert state_disk.names() == ["filler"]


@deviation("runc", reason="leaves half of it, which then is in the way")
def test_no_room_for_the_pid_file(runtime: Runtime, new_bundle: Callable[[], Bundle], disk: Disk) -> None:
    """What has been launched by then ends again."""
    late, bundle = new_bundle(), new_bundle()
    disk.fill()
    pid_file = ("--pid-file", disk.path / "pid")
    says_once(runtime.create(late, "sleep", "1000", options=pid_file), FULL)
    says_once(runtime.run(late, "sleep", "1000", options=("--detach", *pid_file)), FULL)
    runtime.require_clean()

    runtime.launch(bundle, "sleep", "1000")
    for detach in ((), ("--detach",)):
        says_once(runtime.exec(bundle, "sleep", "999", options=(*detach, *pid_file)), FULL, status=255)
    listed = runtime("ps", "--format", "json", bundle.id).ok().stdout
    assert json.loads(listed) == [runtime.pid(bundle)]
    assert disk.names() == ["filler"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_room_for_the_log(runtime: Runtime, bundle: Bundle, disk: Disk, form: str) -> None:
    """What works works without it, and what doesn't says so on stderr still."""
    disk.fill()
    log = ("--log", disk.path / "log", "--log-format", form, "--debug")
    name = runtime.prepare(bundle, "sleep", "1000")
    runtime("create", "--bundle", bundle.path, name, before=log).ok()
    runtime("start", name, before=log).ok()
    runtime("create", "--bundle", bundle.path, name, before=log).failed("already exists")
    runtime("exec", name, "/no/such", before=log).failed("/no/such", status=255)
    runtime("delete", "--force", name, before=log).ok()
    assert (disk.path / "log").read_bytes() == b""


def test_no_room_for_the_mount_points_of_an_image(runtime: Runtime, disk: Disk, work: Path) -> None:
    """The last of the disk's inodes is gone: the error names the mount."""
    bundle = Bundle(disk.path / "bundle").writable()
    bundle.mount("/made/for/us", "tmpfs", "tmpfs")
    found = os.statvfs(disk.path)
    disk.remount(f"nr_inodes={found.f_files - found.f_ffree + 1}")
    (bundle.path / "config.json").touch()
    done = runtime.run(bundle, "true")
    says_once(done, FULL)
    assert "/made/for/us" in done.said
    runtime.require_clean()
    assert not (bundle.rootfs / "made").exists()


@deviation("runc", reason="says two errors")
@needs_program("criu")
def test_no_room_for_a_checkpoint(runtime: Runtime, bundle: Bundle, disk: Disk, work: Path) -> None:
    """The container goes on as if nobody had asked."""
    bundle.writable()
    name = runtime.prepare(bundle, "sh", "-c", "while :; do echo x >/tick; sleep 0.02; done")
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert runtime.popen("run", "--bundle", bundle.path, "--detach", name, **nowhere).wait(30) == 0
    disk.fill()
    for place in ("image", "work"):
        other = "work" if place == "image" else "image"
        done = runtime(
            "checkpoint", f"--{place}-path", disk.path / "full", f"--{other}-path", work / place, bundle.id
        )
        if place == "work" and done.returncode == 0:  # it was its log that criu had no room for
            runtime("state", bundle.id).failed("does not exist")
            return
        assert done.returncode == 1, done
        assert len(done.complaints) == 1, done
        assert runtime.status(bundle) == "running"
        runtime.exec(bundle, "sh", "-c", "rm /tick; while [ ! -e /tick ]; do :; done").ok()


def _limited(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@deviation("runc", reason="does not say why")
@pytest.mark.parametrize("size", [0, 100, 1000])
def test_a_limit_on_the_size_of_files(runtime: Runtime, new_bundle: Callable[[], Bundle], size: int) -> None:
    """`ulimit -f` of the caller, beyond which the kernel sends SIGXFSZ to who doesn't ignore it."""
    late, bundle = new_bundle(), new_bundle()
    low = _limited(size)
    name = runtime.prepare(late, "true")

    def said(*words: object) -> str:
        """On a pipe, for a file would be too large itself."""
        process = runtime.popen(*words, stderr=subprocess.PIPE, preexec_fn=low)
        _, err = process.communicate(timeout=20)
        assert process.returncode == (255 if words[0] == "exec" else 1)
        assert len(err.splitlines()) == 1, err
        return err.decode()

    for verb in ("create", "run"):
        assert TOO_LARGE in said(verb, "--bundle", late.path, name)
    runtime.require_clean()

    runtime.create(bundle, "sleep", "1000").ok()
    runtime.start(bundle, preexec_fn=low).ok()
    if size < 1000:
        assert TOO_LARGE in said("exec", bundle.id, "true")
    runtime("update", "--pids-limit", "50", bundle.id, preexec_fn=low).ok()
    runtime.delete(bundle, force=True, preexec_fn=low).ok()
    assert os.listdir(runtime.root) == []


@deviation("runc", reason="forced, it says that it has deleted what is still there")
def test_a_readonly_state_root(runtime: Runtime, new_bundle: Callable[[], Bundle], state_disk: Disk) -> None:
    """What has to be written or removed there is an error, and can be had when it is writable again."""
    waiting, bundle, late = (new_bundle() for _ in range(3))
    state_disk.mount("size=1m")
    runtime.create(waiting, "sleep", "1000").ok()
    runtime.launch(bundle, "sleep", "1000")
    state_disk.remount("ro")
    says_once(runtime.create(late, "true"), READONLY)
    says_once(runtime.start(waiting), READONLY)
    says_once(runtime.delete(waiting, force=True), READONLY)
    runtime.exec(bundle, "true").ok()
    runtime.stop(bundle)
    says_once(runtime.delete(bundle), READONLY)
    assert len(runtime("list", "--quiet").ok().stdout.split()) == 2

    state_disk.remount("rw")
    runtime.delete(waiting, force=True).ok()
    runtime.delete(bundle).ok()
    assert state_disk.names() == []


@deviation("runc", reason="says nothing, and 0")
def test_an_answer_that_nobody_has_room_for(runtime: Runtime, running: Bundle) -> None:
    for words in (
        ("state", running.id), ("list",), ("list", "--format", "json"), ("ps", running.id), ("features",),
        ("events", "--stats", running.id), ("--version",),
    ):  # fmt: skip
        with open("/dev/full", "wb") as full:
            process = runtime.popen(*words, stdout=full, stderr=subprocess.PIPE)
            _, err = process.communicate(timeout=20)
        assert (process.returncode, err.decode().count("\n")) == (1, 1), (words, err)
        assert FULL in err.decode(), (words, err)


@deviation("runc", reason="leaves an empty one")
def test_no_room_for_a_new_config(runtime: Runtime, disk: Disk) -> None:
    disk.fill()
    says_once(runtime("spec", "--bundle", disk.path), FULL)
    assert disk.names() == ["filler"]


def test_no_room_for_a_shim(runtime: Runtime, bundle: Bundle, state_disk: Disk) -> None:
    if not runtime("--version").stdout.startswith("pyrunc "):
        pytest.skip("the shim is pyrunc's")
    name = runtime.prepare(bundle, "sleep", "1000")
    for room in rooms():
        state_disk.mount(room)
        done = runtime("run", "--bundle", bundle.path, "--detach", "--shim", name)
        if done.returncode:
            says_once(done, FULL)
            assert set(state_disk.names()) <= {"@shims"}
            runtime.require_clean()
        else:
            runtime.clean()
        state_disk.umount()
