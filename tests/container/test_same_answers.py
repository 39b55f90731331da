"""The default config, asked the same questions under runc and under the runtime: the same answers.

Each difference that is allowed stands in a table here, with its reason. Anything else is a bug of one of
the two.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.facts import fields, mounts

RUNC = shutil.which("runc")
pytestmark = pytest.mark.skipif(RUNC is None, reason="runc, to compare with, is not installed")

QUESTIONS = {
    "mountinfo": "cat /proc/self/mountinfo",
    "status": "cat /proc/self/status",
    "limits": "cat /proc/self/limits",
    "cgroup": "cat /proc/self/cgroup",
    "dev": "ls -l /dev | awk '{print $1, $3, $4, $5, $NF}'",
    "links": "for i in fd stdin stdout stderr ptmx core; do readlink /dev/$i; done",
    "environment": "env | sort",
    "descriptors": "ls /proc/$$/fd",
    "namespaces": "ls /proc/self/ns",
    "hostname": "hostname",
    "directory": "pwd",
    "umask": "umask",
    "root": "touch /x 2>&1",
    "masked": "for f in kcore keys timer_list; do wc -c </proc/$f; done; ls /sys/firmware /proc/scsi 2>&1",
    "readonly": "for f in /proc/sys/kernel/hostname /proc/sysrq-trigger; do echo x 2>&1 >$f; done",
    "loopback": "ip address show lo | grep -c UP",
    "oom": "cat /proc/self/oom_score_adj",
    "devices": "cat /sys/fs/cgroup/devices/devices.list 2>/dev/null",
    "keyring": "grep -c _ses /proc/keys",
    "terminal": "cat /proc/self/stat | awk '{print $7}'",
}
SEPARATOR = "====8<===="

# status fields that say how busy or large a process is, not what it may do
VOLATILE = re.compile(
    r"^(Vm|Rss|Pid|Tgid|NS|.*ctxt|Hugetlb|PPid|SigQ|FDSize|Threads|Name|State|.*_allowed|untag)"
)

GLIBCS_OWN = 0b11 << 31  # signals 32 and 33

# target of a mount -> why it may differ
MOUNT_DIFFERENCES = {
    "/": "runc binds the rootfs as a slave of the host's mount, we as a private one",
    "/sys/fs/cgroup": "runc 1.1 leaves the tmpfs writable where the config asks for a read-only mount",
    "/sys/fs/cgroup/unified": "runc 1.1 does not mount the unified hierarchy of a hybrid host here",
}
# what hides a path -> why it may be another thing
MASKS = {
    "/proc/acpi": "the tmpfs has no room at all with us",
    "/sys/firmware": "the tmpfs has no room at all with us",
    "/proc/kcore": "the host's /dev/null, as below",
    "/proc/keys": "the host's /dev/null, which no image can have prepared; runc takes the container's",
    "/proc/timer_list": "the host's /dev/null, as above",
}


def ask(command: str, config: Path, state: Path) -> dict[str, str]:
    script = "; ".join(f"echo '{SEPARATOR}{name}'; {question}" for name, question in QUESTIONS.items())
    document = json.loads((config / "config.json").read_text())
    document["process"] |= {"terminal": False, "args": ["sh", "-c", script]}
    (config / "config.json").write_text(json.dumps(document))
    identity = f"pyrunc-test-same-{Path(command).name}"
    done = subprocess.run(
        [command, "--root", str(state), "run", "--bundle", str(config), identity],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    parts = done.stdout.replace(identity, "ID").split(SEPARATOR)[1:]
    return {name: text.strip() for name, _, text in (part.partition("\n") for part in parts)}


@pytest.fixture(scope="module")
def answers(runtime_command, tmp_path_factory):
    """(of runc, of the runtime), of the document that `runc spec` writes."""
    from support.bundle import make_rootfs

    place = tmp_path_factory.mktemp("same")
    place.chmod(0o755)
    make_rootfs(place / "rootfs")
    subprocess.run([RUNC, "spec", "--bundle", str(place)], check=True)
    try:
        yield tuple(ask(command, place, place / "state") for command in (RUNC, runtime_command))
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize(
    "name", [name for name in QUESTIONS if name not in ("mountinfo", "status", "devices")]
)
def test_an_answer_is_the_same(answers, name):
    theirs, ours = answers
    assert ours[name] == theirs[name]


def test_the_process_may_do_the_same(answers):
    theirs, ours = (
        {name: value for name, value in fields(answer["status"]).items() if not VOLATILE.match(name)}
        for answer in answers
    )
    # runc passes on that signal 32 is ignored, as it is for whoever make has started (see kernel.syscall)
    ignored = [int(status.pop("SigIgn"), 16) & ~GLIBCS_OWN for status in (theirs, ours)]
    assert ignored[0] == ignored[1]
    assert ours == theirs


def test_devices_are_the_same_but_for_their_order(answers):
    theirs, ours = answers
    assert set(ours["devices"].splitlines()) >= set(theirs["devices"].splitlines())


def test_the_mounts_are_the_same(answers):
    """By target: filesystem, options, what of it is mounted, and whether it is tied to the host's mounts."""
    theirs, ours = (
        {
            mount.target: (mount.fstype, set(mount.options), mount.root, set(mount.super_options))
            for mount in mounts(answer["mountinfo"])
            if mount.target not in MOUNT_DIFFERENCES and mount.target not in MASKS
        }
        for answer in answers
    )
    assert ours == theirs


def test_what_is_masked_is_masked(answers):
    theirs, ours = ({m.target for m in mounts(a["mountinfo"]) if m.target in MASKS} for a in answers)
    assert ours == theirs
