"""What a hostile image or a hostile neighbour tries while the runtime works. An attack here only shows that
it would succeed: it opens for writing, and never writes."""

import ctypes
import os
import threading
from pathlib import Path

import pytest
from support.marks import deviation
from support.waiting import until

RENAME_EXCHANGE = 2
AT_FDCWD = -100

# For each process that is none of busybox's: keep its executable open, and when the process has ended, so
# that it is busy no longer, try to open it for writing.
HUNTER = """
own=$(stat -Lc %d:%i /bin/busybox)
echo ready
while :; do
  for p in /proc/[0-9]*; do
    [ "$(stat -Lc %d:%i $p/exe 2>/dev/null)" = "$own" ] && continue
    (
      exec 9<$p/exe
      n=0; while [ $n -lt 40 ] && [ -e $p/stat ]; do n=$((n+1)); sleep 0.01; done
      (exec 8>>/proc/self/fd/9) && echo "opened $(readlink /proc/self/fd/9)"
    )
  done
done 2>/dev/null
"""


@pytest.mark.parametrize("script", ["#!/proc/self/exe\n", None], ids=["by itself", "a program"])
def test_the_runtimes_executable_cannot_be_opened_for_writing(runtime, bundle, script):
    """CVE-2019-5736. What is in memory only, sealed or not, is no file of the host's."""
    bundle.allow("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE")
    victim = "/bin/true"
    if script is not None:
        victim = "/bin/victim"
        (bundle.rootfs / "bin/victim").write_text(script)
        (bundle.rootfs / "bin/victim").chmod(0o755)
    created = runtime.launch(bundle, "sh", "-c", HUNTER)
    until(lambda: created.stdout.startswith("ready\n"), "it hunts")
    for _ in range(8):
        runtime.exec(bundle, victim)
    assert runtime.status(bundle) == "running"
    opened = {line.removeprefix("opened ") for line in created.stdout.splitlines()[1:]}
    assert not {name for name in opened if not name.startswith("/memfd:")}


class Swapper:
    """Exchanges two names as fast as it can, as a neighbour does who shares the volume."""

    def __init__(self, one, other):
        self.names = [os.fsencode(one), os.fsencode(other)]
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work)
        self.libc = ctypes.CDLL(None, use_errno=True)

    def work(self):
        while not self.stop.is_set():
            if self.libc.renameat2(AT_FDCWD, self.names[0], AT_FDCWD, self.names[1], RENAME_EXCHANGE) != 0:
                raise OSError(ctypes.get_errno(), "renameat2")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


@pytest.fixture
def outside(work):
    """A directory of the host's that nothing may be mounted on, or made in."""
    made = work / "outside"
    (made / "inner").mkdir(parents=True)
    (made / "inner/file").write_text("canary")
    return made


def snapshot(outside):
    mountinfo = Path("/proc/self/mountinfo").read_text()
    return mountinfo, sorted(str(path) for path in outside.rglob("*")), (outside / "inner/file").read_text()


@deviation("runc", reason="makes directories by name, CVE-2024-45310", before="1.1.14", sometimes=True)
@pytest.mark.parametrize("below", ["", "/inner", "/made/by/us", "/inner/made"])
def test_a_destination_that_changes_under_the_runtime(runtime, bundle, outside, work, below):
    """CVE-2021-30465 and CVE-2024-45310: a directory in a shared volume is now and then a link to outside."""
    volume = work / "volume"
    (volume / "place/inner").mkdir(parents=True)
    (volume / "other").symlink_to(outside)
    bundle.bind(volume, "/volume")
    bundle.mount(f"/volume/place{below}", "tmpfs", "tmpfs")
    bundle.bind(volume, f"/volume/place{below}")
    before = snapshot(outside)
    with Swapper(volume / "place", volume / "other"):
        for _ in range(12):
            runtime.run(bundle, "true")
    assert snapshot(outside) == before


@pytest.mark.parametrize("which", ["maskedPaths", "readonlyPaths"])
def test_a_masked_path_that_changes_under_the_runtime(runtime, bundle, outside, work, which):
    volume = work / "volume"
    (volume / "place/inner").mkdir(parents=True)
    (volume / "other").symlink_to(outside)
    bundle.bind(volume, "/volume")
    bundle.linux[which] = ["/volume/place/inner", "/volume/place"]
    before = snapshot(outside)
    with Swapper(volume / "place", volume / "other"):
        for _ in range(12):
            runtime.run(bundle, "true")
    assert snapshot(outside) == before


@deviation("runc", reason="makes devices by name, CVE-2026-41579", before="1.3.6", sometimes=True)
def test_a_device_that_changes_under_the_runtime(runtime, bundle, outside):
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"):
        bundle.unmount(name)
    bundle.writable()
    bundle.linux["maskedPaths"] = []
    (bundle.rootfs / "other").symlink_to(outside)
    before = snapshot(outside)
    with Swapper(bundle.rootfs / "dev", bundle.rootfs / "other"):
        for _ in range(12):
            runtime.run(bundle, "true")
    assert snapshot(outside) == before


def test_a_working_directory_that_is_made_while_it_changes(runtime, bundle, outside):
    bundle.writable()
    (bundle.rootfs / "place").mkdir()
    (bundle.rootfs / "other").symlink_to(outside)
    bundle.process["cwd"] = "/place/made/for/us"
    before = snapshot(outside)
    with Swapper(bundle.rootfs / "place", bundle.rootfs / "other"):
        for _ in range(12):
            runtime.run(bundle, "true")
    assert snapshot(outside) == before
