"""What a hostile image or a hostile neighbour tries while the runtime works. An attack here only shows that
it would succeed: it opens for writing, and never writes."""

from pathlib import Path

import pytest
from support.marks import deviation
from support.swapper import Swapper
from support.waiting import until

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


@pytest.fixture
def outside(work):
    """A directory of the host's that nothing may be mounted on, or made in."""
    made = work / "outside"
    (made / "inner").mkdir(parents=True)
    (made / "inner/file").write_text("canary")
    return made


def snapshot(outside):
    """Mounts on the host at or around it (other suites may be mounting elsewhere), and what is in it."""
    mountinfo = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = [line for line in mountinfo if str(outside.parent) in line]
    return mounts, sorted(str(path) for path in outside.rglob("*")), (outside / "inner/file").read_text()


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
    """GHSA-3q8j-pf29-vwv8: what was read-only by its name was not what is there later."""
    volume = work / "volume"
    (volume / "place/inner").mkdir(parents=True)
    (volume / "other").symlink_to(outside)
    bundle.bind(volume, "/volume")
    bundle.linux[which] = ["/volume/place/inner", "/volume/place"]
    before = snapshot(outside)
    with Swapper(volume / "place", volume / "other"):
        for _ in range(12):
            looked = runtime.run(bundle, "find", "/volume", "-type", "f", "-exec", "cat", "{}", ";")
            assert "canary" not in looked.stdout
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
