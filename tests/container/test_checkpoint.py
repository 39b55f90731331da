"""checkpoint and restore: what a process has survives, and nothing is left of what fails."""

import functools
import json
import os
import shutil
import subprocess

import pytest
from support.console import ConsoleSocket
from support.marks import deviation
from support.waiting import until

COUNTER = """
exec </dev/null
exec 3</lines
read first <&3
trap 'read next <&3; echo $next' USR1
trap 'echo ended; exit 7' TERM
i=0
while :; do i=$((i + 1)); ln -sfn $i /count; sleep 0.02; done
"""


@functools.cache
def _why_not():
    """criu's own word on whether it and this kernel go together."""
    done = subprocess.run(["criu", "check"], capture_output=True, text=True)
    return f"criu check: {(done.stderr.splitlines() or ['?'])[0]}" if done.returncode else ""


class Counter:
    """A container whose second process counts in a symlink, and has a file open. It counts in no file: criu
    restores none that was open and has got another size. Its output goes to a pipe: a file of the host's
    criu would not find in the container."""

    def __init__(self, runtime, bundle, work):
        self.runtime, self.bundle, self.images = runtime, bundle, work / "images"
        self.pipes = []
        bundle.writable()
        (bundle.rootfs / "counter.sh").write_text(COUNTER)
        (bundle.rootfs / "lines").write_text("one\ntwo\nthree\n")
        self.count_link = bundle.rootfs / "count"

    def _pipe(self):
        reading, writing = os.pipe()
        self.pipes.append(reading)
        return reading, writing

    def run(self, command="sh /counter.sh & wait", options=()):
        self.output, writing = self._pipe()
        name = self.runtime.prepare(self.bundle, "sh", "-c", command)
        words = ("run", "--bundle", self.bundle.path, "--detach", *options, name)
        process = self.runtime.popen(*words, stdout=writing, stderr=writing)
        os.close(writing)
        assert process.wait() == 0, self.said()
        if "counter" in command:
            until(self.count, "it counts")
        return self

    def said(self):
        return os.read(self.output, 4096).decode()

    def count(self):
        """0 before the first, and for the moment between one and the next."""
        try:
            return int(os.readlink(self.count_link))
        except FileNotFoundError:
            return 0

    def inner_pid(self):
        """Of the one that has the file open; its children do for a moment, between fork and exec."""
        script = (
            'for p in /proc/[0-9]*; do [ "$(readlink $p/fd/3)" = /lines ] && echo ${p#/proc/}; done; true'
        )
        found = self.runtime.exec(self.bundle, "sh", "-c", script).ok().stdout.split()
        return min(found, key=int)

    def checkpoint(self, *options, images=None):
        words = ("--image-path", images or self.images, "--work-path", self.images.parent / "work")
        return self.runtime("checkpoint", *words, *options, self.bundle.id, timeout=120)

    def restore(self, *options, id=None):
        """Detached, with a new pipe for its output."""
        self.output, writing = self._pipe()
        name = self.runtime.remember(id or self.bundle.id)
        words = ("--image-path", self.images, "--work-path", self.images.parent / "work")
        where = ("--bundle", self.bundle.path)
        process = self.runtime.popen(
            "restore", *where, *words, "--detach", *options, name, stdout=writing, stderr=writing
        )
        os.close(writing)
        return process.wait(timeout=120)

    def is_restored(self, *options):
        before = self.count()
        code = self.restore(*options)
        assert code == 0, self.said() + self.log("restore.log")
        until(lambda: self.count() > before, "it counts on")
        return True

    def log(self, name):
        path = self.images.parent / "work" / name
        return path.read_text()[-3000:] if path.exists() else ""

    def close(self):
        for fd in self.pipes:
            os.close(fd)


@pytest.fixture
def idle(runtime, bundle, work):
    """For what fails before criu has saved or restored anything."""
    if shutil.which("criu") is None:
        pytest.skip("criu is not installed")
    made = Counter(runtime, bundle, work)
    yield made
    made.close()


@pytest.fixture
def counter(idle):
    if _why_not():
        pytest.skip(_why_not())
    return idle


def saved(counter, *options):
    done = counter.checkpoint(*options)
    assert done.returncode == 0, f"{done} {counter.log('dump.log')}"
    return done


# -- there and back ------------------------------------------------------------------------------------------


def test_a_process_goes_on_with_its_pid_and_its_open_file(runtime, counter, work):
    counter.run()
    pid = counter.inner_pid()
    assert saved(counter).stdout == ""
    runtime("state", counter.bundle.id).failed("does not exist")
    stopped_at = counter.count()
    assert counter.restore("--pid-file", work / "pid") == 0, counter.said() + counter.log("restore.log")
    until(lambda: counter.count() > stopped_at, "it counts on")
    assert counter.inner_pid() == pid
    state = runtime.state(counter.bundle)
    assert state["status"] == "running"
    assert (work / "pid").read_text() == str(state["pid"])
    runtime.exec(counter.bundle, "sh", "-c", f"kill -USR1 {pid}").ok()
    assert counter.said() == "two\n"


def test_restored_again_it_can_be_saved_again(runtime, counter):
    counter.run()
    for _ in range(2):
        saved(counter)
        shutil.rmtree(counter.images.parent / "work")
        assert counter.is_restored()
    runtime.stop(counter.bundle)
    runtime.delete(counter.bundle).ok()


def test_what_it_ends_with_is_the_exit_code_in_the_foreground(runtime, counter):
    counter.run("exec sh /counter.sh")
    saved(counter)
    where = ("--bundle", counter.bundle.path, "--image-path", counter.images)
    output, writing = os.pipe()
    counter.pipes.append(output)
    before = counter.count()
    restoring = runtime.popen("restore", *where, counter.bundle.id, stdout=writing, stderr=writing)
    os.close(writing)
    until(lambda: counter.count() > before, "it counts on", 60)
    runtime.kill(counter.bundle, "TERM").ok()
    assert restoring.wait(timeout=30) == 7
    assert os.read(output, 100) == b"ended\n"
    runtime("state", counter.bundle.id).failed("does not exist")


def test_the_terminal_goes_to_the_new_caller(runtime, counter, work):
    counter.bundle.process["terminal"] = True
    sockets = [ConsoleSocket(work / name) for name in ("first.sock", "second.sock")]
    try:
        counter.run("stty -echo; sh /counter.sh & while read line; do echo got $line; done",
                    options=("--console-socket", sockets[0].path))  # fmt: skip
        sockets[0].terminal()
        saved(counter)
        assert counter.is_restored("--console-socket", sockets[1].path)
        terminal = sockets[1].terminal()
        terminal.type("hello\n")
        terminal.expect("got hello\r\n")
    finally:
        for socket in sockets:
            socket.close()


def test_another_id(runtime, counter):
    counter.run()
    saved(counter, "--manage-cgroups-mode", "ignore")
    other = f"{counter.bundle.id}-other"
    code = counter.restore("--manage-cgroups-mode", "ignore", id=other)
    assert code == 0, counter.said() + counter.log("restore.log")
    pid = runtime.pid(other)
    with open(f"/proc/{pid}/cgroup") as file:
        found = [line.rpartition("/")[2].removesuffix(".scope") for line in file.read().splitlines()]
    assert any(name.endswith(other) for name in found), found


# -- mounts, namespaces, hooks -------------------------------------------------------------------------------


def test_bind_mounts_come_from_the_host_anew(runtime, counter, work):
    directory, file = work / "directory", work / "file"
    (directory / "inner").mkdir(parents=True)
    file.write_text("of the host")
    bundle = counter.bundle
    (bundle.rootfs / "real").mkdir()
    (bundle.rootfs / "link").symlink_to("/real")
    bundle.bind(directory, "/link")
    bundle.bind(file, "/etc/given", "ro")
    bundle.bind(directory, "/real/inner")
    counter.run()
    saved(counter)
    (directory / "late").write_text("while it was away")
    (bundle.rootfs / "etc/given").unlink()
    assert counter.is_restored()
    answers = runtime.ask_exec(bundle, late="cat /real/late", file="cat /etc/given", inner="ls /real/inner")
    assert answers == {"late": "while it was away", "file": "of the host", "inner": "inner\nlate"}


@deviation("runc", reason="a mount has other options after it", sometimes=True)
def test_masks_and_readonly_paths_are_there_again(runtime, counter):
    counter.run()
    asked = {"mounts": "cut -d' ' -f5,6 /proc/self/mountinfo | sort", "masked": "wc -c </proc/kcore"}
    before = runtime.ask_exec(counter.bundle, **asked)
    saved(counter)
    assert counter.is_restored()
    assert runtime.ask_exec(counter.bundle, **asked) == before
    assert before["masked"] == "0"


def test_an_own_cgroup_namespace(runtime, counter):
    counter.bundle.namespace("cgroup")
    counter.run()
    saved(counter)
    assert counter.is_restored()
    assert runtime.ask_exec(counter.bundle, it="cat /proc/1/cgroup")["it"].splitlines()[-1] == "0::/"


def test_a_network_namespace_given_by_path_stays_that_one(runtime, counter, work):
    place = work / "netns"
    place.touch()
    subprocess.run(["unshare", f"--net={place}", "true"], check=True)
    try:
        counter.bundle.namespace("network", str(place))
        counter.run()
        saved(counter)
        assert counter.is_restored()
        inode = os.stat(f"/proc/{runtime.pid(counter.bundle)}/ns/net").st_ino
        assert inode == place.stat().st_ino
    finally:
        subprocess.run(["umount", place], check=True)


def test_limits_hold_after_it(runtime, counter):
    counter.bundle.resources["pids"] = {"limit": 37}
    counter.run()
    saved(counter)
    assert counter.is_restored()
    with open(f"/proc/{runtime.pid(counter.bundle)}/cgroup") as file:
        path = next(line.split(":")[2].strip() for line in file if "pids" in line or line.startswith("0:"))
    root = "/sys/fs/cgroup/pids" if os.path.isdir("/sys/fs/cgroup/pids") else "/sys/fs/cgroup"
    with open(f"{root}{path}/pids.max") as file:
        assert file.read() == "37\n"


def test_hooks_that_make_its_surroundings_run_again(runtime, counter, work):
    script = f"cat >>{work}/%s; echo >>{work}/%s"
    kinds = ("prestart", "createRuntime", "poststop")
    counter.bundle.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", script % (kind, kind)]}] for kind in kinds
    }
    counter.run()
    saved(counter)
    assert counter.is_restored()
    pid = runtime.pid(counter.bundle)
    for kind in kinds[:2]:
        states = [json.loads(line) for line in (work / kind).read_text().splitlines()]
        assert len(states) == 2
        assert states[1]["pid"] == pid
    assert len((work / "poststop").read_text().splitlines()) == 1


def test_a_hook_that_fails_leaves_nothing(runtime, counter, work):
    counter.run()
    saved(counter)
    counter.bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo sorry; exit 3"]}]
    }
    counter.bundle.write()
    assert counter.restore() == 1
    said = counter.said()
    assert "error running" in said
    assert "exit status 3, stdout: sorry" in said
    runtime("state", counter.bundle.id).failed("does not exist")


# -- while it runs on ----------------------------------------------------------------------------------------


def test_leave_running(runtime, counter):
    counter.run()
    saved(counter, "--leave-running")
    before = counter.count()
    until(lambda: counter.count() > before, "it counts on")
    assert runtime.status(counter.bundle) == "running"
    runtime.delete(counter.bundle, force=True).ok()
    assert counter.is_restored()


def test_memory_first_and_the_rest_later(runtime, counter, work):
    counter.run()
    done = counter.checkpoint("--pre-dump", images=work / "before")
    assert done.returncode == 0, f"{done} {counter.log('dump.log')}"
    before = counter.count()
    until(lambda: counter.count() > before, "it counts on")
    saved(counter, "--parent-path", "../before")
    assert os.readlink(counter.images / "parent") == "../before"
    assert counter.is_restored()


@pytest.mark.parametrize("path", ["/absolute", "../missing"])
def test_a_parent_path_must_be_one(runtime, idle, path):
    idle.run()
    idle.checkpoint("--parent-path", path).failed("--parent-path")
    assert runtime.status(idle.bundle) == "running"


# -- what can't be done --------------------------------------------------------------------------------------


@deviation("runc", reason="tells the name of the log alone")
def test_the_errors_in_crius_log_are_in_ours(runtime, idle, work):
    """A file that is open and lies outside of the container."""
    runtime.launch(idle.bundle, "sleep", "1000")
    idle.checkpoint().failed("criu failed: type DUMP", str(work / "work" / "dump.log"), "Error (criu/")
    assert runtime.status(idle.bundle) == "running"


def test_only_what_runs_can_be_saved(runtime, idle):
    runtime.create(idle.bundle, "true").ok()
    idle.checkpoint().failed("checkpointed in created state")
    runtime.start(idle.bundle).ok()
    runtime.until_status(idle.bundle, "stopped")
    idle.checkpoint().failed("checkpointed in stopped state")


def test_an_id_that_is_taken(runtime, idle):
    idle.run()
    idle.images.mkdir()
    assert idle.restore() == 1
    assert "already exists" in idle.said()
    before = idle.count()
    until(lambda: idle.count() > before, "the first one counts on")


@deviation("runc", reason="tells the name of the log alone")
def test_without_images_nothing_is_left(runtime, idle):
    idle.bundle.write()
    assert idle.restore() == 1
    assert "no such file" in idle.said()
    idle.images.mkdir()
    (idle.images / "descriptors.json").write_text('["", "", ""]')
    assert idle.restore() == 1
    assert "Error (criu/" in idle.said()
    runtime("state", idle.bundle.id).failed("does not exist")
    assert not mount_below(idle.bundle.path)


def test_images_that_are_not_whole_leave_nothing(runtime, counter):
    counter.run()
    saved(counter)
    for path in counter.images.glob("core-*.img"):
        path.write_bytes(b"not an image")
    assert counter.restore() == 1
    assert "criu failed" in counter.said()
    runtime("state", counter.bundle.id).failed("does not exist")
    assert not mount_below(counter.bundle.path)


def mount_below(path):
    with open("/proc/self/mountinfo") as file:
        return [line for line in file if str(path) in line]


def test_a_restore_that_is_killed_costs_no_file(runtime, counter):
    if os.path.basename(runtime.command) == "runc":
        pytest.skip("runc 1.1 deletes the root filesystem by the mount that is left")
    counter.run()
    saved(counter)
    hooks = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -KILL $PPID"]}]}
    counter.bundle.config["hooks"] = hooks
    counter.bundle.write()
    assert counter.restore() < 0
    runtime.delete(counter.bundle, force=True).ok()
    assert (counter.bundle.rootfs / "counter.sh").read_text() == COUNTER
    assert not mount_below(counter.bundle.path)


def test_help_promises_it(runtime, idle):
    assert "--leave-running" in runtime("checkpoint", "--help").ok().stdout
    assert "--lsm-mount-context" in runtime("restore", "--help").ok().stdout
