"""create, start, state, kill, delete: exit codes, the state JSON, and the sentences that callers match."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from support import fields, leaks
from support.fields import covers
from support.marks import deviation
from support.waiting import until

UNKNOWN = "container does not exist"
ID = "ID"


@covers("state:/status=(created|running|stopped)")
def test_a_container_from_create_to_delete(runtime, bundle):
    created = runtime.create(bundle, "sh", "-c", "echo begun; exec sleep 1000").ok()
    assert runtime.status(bundle) == "created"
    assert created.stdout == "", "the program ran before start"
    pid = runtime.pid(bundle)

    assert runtime.start(bundle).ok().stdout == ""
    assert runtime.status(bundle) == "running"
    assert runtime.pid(bundle) == pid, "start changed the process"
    until(lambda: created.stdout == "begun\n", "the program runs")

    assert runtime.kill(bundle, "KILL").ok().stdout == ""
    runtime.until_status(bundle, "stopped")
    assert leaks.reap(pid) == -9

    assert runtime.delete(bundle).ok().stdout == ""
    runtime("state", bundle.id).failed(UNKNOWN)
    assert not leaks.cgroups(bundle.id)
    assert os.listdir(runtime.root) == []


@covers("/annotations", "state:/(ociVersion|id|pid|bundle|annotations)")
def test_state_describes_the_container(runtime, bundle):
    bundle.config["annotations"] = {"org.example.key": "välue"}
    before = time.time()
    runtime.create(bundle, "sleep", "1000").ok()

    text = runtime("state", bundle.id).ok().stdout
    state = json.loads(text)
    fields.saw(fields.STATE, state)

    assert state["id"] == bundle.id
    assert state["status"] == "created"
    assert state["bundle"] == str(bundle.path)
    assert state["rootfs"] == str(bundle.rootfs)
    assert state["annotations"] == {"org.example.key": "välue"}
    assert state["owner"] == ""
    assert re.fullmatch(r"1\.\d+\.\d+(-.*)?", state["ociVersion"])
    assert Path(f"/proc/{state['pid']}/cgroup").read_text().count(bundle.id) > 0
    created = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+Z", state["created"])
    assert created, state["created"]
    assert abs(time.mktime(time.strptime(created[1], "%Y-%m-%dT%H:%M:%S")) - time.timezone - before) < 5
    assert text == json.dumps(state, indent=2, ensure_ascii=False) + ("\n" if text.endswith("\n") else "")


def test_annotations_are_left_out_when_there_are_none(runtime, bundle):
    runtime.create(bundle).ok()
    assert "annotations" not in runtime.state(bundle)


def test_a_stopped_container_has_no_pid(runtime, bundle):
    runtime.launch(bundle, "true")
    runtime.until_status(bundle, "stopped")
    assert runtime.state(bundle)["pid"] == 0


def test_the_parent_of_the_runtime_inherits_init_and_sees_its_exit_status(runtime, bundle):
    """As conmon and containerd's shim do: they wait for a process that they never started."""
    runtime.create(bundle, "sh", "-c", "exit 23").ok()
    pid = runtime.pid(bundle)
    assert pid in leaks.children()
    runtime.start(bundle).ok()
    assert leaks.reap(pid) == 23
    assert runtime.status(bundle) == "stopped"


def test_the_pid_file_holds_the_pid_without_a_newline(runtime, bundle, work):
    """containerd's parser refuses a newline."""
    runtime.create(bundle, options=("--pid-file", work / "pid")).ok()
    assert (work / "pid").read_text() == str(runtime.pid(bundle))
    assert not [name for name in os.listdir(work) if name.startswith(".")], "a temporary file is left"


def test_a_relative_bundle_and_pid_file_are_relative_to_the_working_directory(runtime, bundle, work):
    runtime.prepare(bundle, "sleep", "1000")
    runtime("create", "--bundle", "bundle", "--pid-file", "pid", bundle.id, cwd=work).ok()
    assert runtime.state(bundle)["bundle"] == str(bundle.path)
    assert (work / "pid").read_text() == str(runtime.pid(bundle))


def test_the_bundle_is_the_working_directory_unless_named(runtime, bundle):
    runtime.prepare(bundle, "sleep", "1000")
    runtime("create", bundle.id, cwd=bundle.path).ok()
    assert runtime.state(bundle)["bundle"] == str(bundle.path)


def test_a_change_of_config_after_create_has_no_effect(runtime, bundle):
    created = runtime.create(bundle, "echo", "first").ok()
    runtime.prepare(bundle, "echo", "second")
    runtime.start(bundle).ok()
    until(lambda: created.stdout == "first\n", "what was created runs")


def test_a_created_container_can_be_killed_and_deleted(runtime, bundle):
    created = runtime.create(bundle, "echo", "begun").ok()
    runtime.stop(bundle)
    runtime.start(bundle).failed("cannot start a container that has stopped")
    runtime.delete(bundle).ok()
    assert created.stdout == ""


@deviation("runc", reason="ends one that was never started")
def test_delete_of_a_created_container_needs_force(runtime, bundle):
    runtime.create(bundle, "echo", "begun").ok()
    pid = runtime.pid(bundle)
    runtime.delete(bundle).failed(f"cannot delete container {bundle.id} that is not stopped: created")
    assert (runtime.status(bundle), runtime.pid(bundle)) == ("created", pid)
    runtime.delete(bundle, force=True).ok()
    assert leaks.reap(pid) == -9


# -- the wrong moment ------------------------------------------------------------------------------------


def test_what_a_running_container_refuses(runtime, running):
    runtime.start(running).failed("cannot start an already running container")
    runtime.delete(running).failed(f"cannot delete container {running.id} that is not stopped: running")
    runtime("resume", running.id).failed("container not paused")
    assert runtime.status(running) == "running"


def test_what_a_stopped_container_refuses(runtime, running):
    runtime.stop(running)
    runtime.start(running).failed("cannot start a container that has stopped")
    runtime.kill(running, "KILL").failed("container not running")
    runtime.exec(running, "true").failed("cannot exec in a stopped container", status=255)
    runtime("pause", running.id).failed("container not running")
    runtime("resume", running.id).failed("container not paused")
    assert runtime.status(running) == "stopped"


def test_what_a_paused_container_refuses(runtime, running):
    runtime("pause", running.id).ok()
    runtime.start(running).failed("cannot start a container in the paused state")
    runtime.delete(running).failed(f"cannot delete container {running.id} that is not stopped: paused")
    assert runtime.status(running) == "paused"


@pytest.mark.parametrize(
    "words",
    [
        ("state", ID), ("start", ID), ("kill", ID), ("kill", ID, "9"), ("delete", ID), ("pause", ID),
        ("resume", ID), ("ps", ID), ("update", "--pids-limit", "5", ID), ("events", "--stats", ID),
        ("exec", ID, "true"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_unknown_container(runtime, bundle, words):
    done = runtime(*(bundle.id if word is ID else word for word in words))
    done.failed(UNKNOWN, status=255 if words[0] == "exec" else 1)
    assert not (runtime.root / bundle.id).exists()


def test_an_id_can_be_used_once_at_a_time(runtime, running):
    pid = runtime.pid(running)
    for verb in ("create", "run"):
        done = runtime(verb, "--bundle", running.path, running.id)
        done.failed("container with given ID already exists")
    assert runtime.pid(running) == pid
    assert runtime.status(running) == "running"
    runtime.stop(running)
    runtime.delete(running).ok()
    runtime.run(running, "echo", "again").ok()


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../a", "a b", "a\nb", "a:b", "ä", "a\\b", "a*"])
def test_a_name_that_is_no_id(runtime, bundle, id):
    bundle.write()
    for verb in ("create", "run"):
        assert runtime(verb, "--bundle", bundle.path, id).failed().stderr.strip()
    for verb in ("state", "delete"):
        assert runtime(verb, id).failed().stderr.strip()
    assert not runtime.root.exists() or os.listdir(runtime.root) == []


@pytest.mark.parametrize("name", ["a", "0", "A_b.c-d+e", "-".join(["long"] * 40)])
def test_a_name_that_is_an_id(runtime, bundle, name):
    id = f"{bundle.id}{name}"
    runtime.run(bundle, "true", id=id).ok()


# -- kill ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [None, "TERM", "SIGTERM", "sigterm", "term", "15"])
def test_signals_go_by_several_names(runtime, bundle, signal):
    created = runtime.launch(
        bundle, "sh", "-c", "trap 'echo TERM; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    )
    until(lambda: created.stdout == "ready\n", "the trap is set")
    runtime.kill(bundle, *([] if signal is None else [signal])).ok()
    runtime.until_status(bundle, "stopped")
    assert created.stdout == "ready\nTERM\n"


@pytest.mark.parametrize("signal", ["FOO", "SIGFOO", "KILLED", "1.5"])
def test_an_unknown_signal(runtime, running, signal):
    runtime.kill(running, signal).failed("unknown signal")
    assert runtime.status(running) == "running"


def test_signal_zero_asks_whether_it_is_alive(runtime, running):
    runtime.kill(running, "0").ok()
    runtime.stop(running)
    runtime.kill(running, "0").failed("container not running")


def test_a_real_time_signal_by_number(runtime, bundle):
    created = runtime.launch(
        bundle, "sh", "-c", "trap 'echo got; exit 0' 40; echo ready; while :; do sleep 0.01; done"
    )
    until(lambda: created.stdout == "ready\n", "the trap is set")
    runtime.kill(bundle, "40").ok()
    runtime.until_status(bundle, "stopped")
    assert created.stdout == "ready\ngot\n"


# -- delete ----------------------------------------------------------------------------------------------


def test_delete_by_force_ends_whatever_is_there_and_may_be_repeated(runtime, running):
    pid = runtime.pid(running)
    runtime.delete(running, force=True).ok()
    assert leaks.reap(pid) == -9
    runtime("state", running.id).failed(UNKNOWN)
    runtime.delete(running, force=True).ok()
    runtime.delete(running).failed(UNKNOWN)


def test_delete_by_force_of_what_never_was(runtime, bundle):
    runtime.delete(bundle, force=True).ok()


def test_delete_by_force_of_a_paused_container(runtime, running):
    runtime("pause", running.id).ok()
    runtime.delete(running, force=True).ok()
    assert not leaks.cgroups(running.id)


def test_delete_without_the_bundle(runtime, running, work):
    """podman removes a container's directory in its own order."""
    runtime.stop(running)
    running.path.rename(work / "elsewhere")
    runtime.delete(running).ok()


def test_children_of_init_end_with_it(runtime, bundle):
    created = runtime.launch(bundle, "sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait")
    until(lambda: created.stdout == "ready\n", "its children run")
    runtime.kill(bundle, "KILL").ok()
    runtime.until_status(bundle, "stopped")
    runtime.delete(bundle).ok()
    assert not leaks.cgroups(bundle.id)


@deviation("runc", reason="now and then leaves a v2 cgroup behind", sometimes=True)
def test_delete_ends_what_outlived_init_in_a_shared_pid_namespace(runtime, bundle):
    bundle.share("pid")
    created = runtime.launch(bundle, "sh", "-c", "sleep 1000 & echo $!; sleep 0.1")
    until(lambda: created.stdout, "the child runs")
    survivor = int(created.stdout)
    runtime.until_status(bundle, "stopped")
    until(lambda: leaks.state_of(survivor) == "S", "it sleeps")
    runtime.delete(bundle).ok()
    assert leaks.reap(survivor) == -9
    runtime.require_clean()


# -- crashes ---------------------------------------------------------------------------------------------


@deviation("runc", reason="makes cgroups before a state by which delete finds them", sometimes=True)
def test_create_killed_at_any_moment_leaves_nothing_that_delete_cannot_remove(runtime, new_bundle, work):
    bundle = new_bundle()
    for moment in range(0, 48, 3):
        id = runtime.prepare(bundle, "sleep", "1000", id=f"{bundle.id}-{moment}")
        with (work / "out").open("wb") as out:
            process = runtime.popen("create", "--bundle", bundle.path, id, stdout=out, stderr=out)
            time.sleep(moment / 1000)
            process.kill()
            process.wait()
        runtime.delete(id, force=True).ok()
    runtime.require_clean()


def test_a_broken_state_file_hides_no_other_container(runtime, running):
    broken = runtime.root / "pyrunc-test-broken"
    broken.mkdir()
    (broken / "state.json").write_text("{")
    done = runtime("list", "-q")
    assert done.returncode == 0, done
    assert done.stdout.split() == [running.id]
    assert "pyrunc-test-broken" in done.stderr
    (broken / "state.json").unlink()
    broken.rmdir()


# -- words of the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["create", "run", "start", "state", "kill", "delete", "pause", "resume"])
def test_a_missing_operand(runtime, verb):
    done = runtime(verb)
    assert done.returncode == 1, done
    assert f'"{verb}" requires' in done.said


@pytest.mark.parametrize("words", [("state", "a", "b"), ("start", "a", "b"), ("pause", "a", "b")])
def test_an_operand_too_many(runtime, words):
    done = runtime(*words)
    assert done.returncode == 1, done
    assert f'"{words[0]}" requires exactly 1 argument' in done.said


@pytest.mark.parametrize("words", [("state", "--bogus", "a"), ("--bogus", "list"), ("run", "-x", "a")])
def test_an_unknown_option(runtime, words):
    done = runtime(*words)
    assert done.returncode == 1, done
    (option,) = [word.lstrip("-") for word in words if word.startswith("-")]
    assert f"flag provided but not defined: -{option}" in done.said


def test_an_unknown_command(runtime):
    done = runtime("bogus")
    assert done.returncode != 0, done
    assert "bogus" in done.said


@pytest.mark.parametrize(
    "options",
    [("--bundle={}",), ("-bundle={}",), ("-bundle", "{}"), ("-b", "{}"), ("-b={}",), ("--bundle", "{}")],
    ids=" ".join,
)
def test_options_in_all_the_spellings_of_go(runtime, bundle, options):
    id = runtime.prepare(bundle, "echo", "hello")
    done = runtime("run", *(word.format(bundle.path) for word in options), id).ok()
    assert done.stdout == "hello\n"


def test_two_dashes_end_the_options(runtime, bundle):
    id = runtime.prepare(bundle, "sleep", "1000")
    runtime("create", "--bundle", bundle.path, "--", id).ok()
    assert runtime("state", "--", id).ok().stdout
    runtime.start(bundle).ok()
    assert runtime("exec", "--", id, "echo", "-n", "x").ok().stdout == "x"


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",)])
def test_help(runtime, words):
    done = runtime(*words).ok()
    for verb in ("create", "start", "state", "kill", "delete", "run", "exec", "list", "spec", "features"):
        assert re.search(rf"^\s+{verb}\b", done.stdout, re.MULTILINE), verb


@pytest.mark.parametrize("verb", ["create", "exec", "kill", "update", "events"])
def test_help_of_a_command(runtime, verb):
    assert verb in runtime(verb, "--help").ok().stdout


def test_the_version_lines(runtime):
    """go-runc, podman and docker take `commit: ` and `spec: ` from them, and show the rest."""
    done = runtime("--version").ok()
    assert done.stderr == ""
    first, *rest = done.stdout.splitlines()
    assert re.fullmatch(r"\w+ version \S+", first)
    assert [line for line in rest if re.fullmatch(r"spec: 1\.\d+\.\d+.*", line)]
    assert [line for line in rest if line.startswith("commit: ")]


@pytest.mark.parametrize("root", ["relative", "deep/er/still"])
def test_a_state_root_is_made_where_it_is_missing(runtime, bundle, work, root):
    id = runtime.prepare(bundle, "sleep", "1000")
    runtime("--root", root, "create", "--bundle", bundle.path, id, cwd=work).ok()
    assert (work / root / id).is_dir()
    runtime("--root", work / root, "state", id).ok()
    runtime("--root", root, "delete", "--force", id, cwd=work).ok()
    assert os.listdir(work / root) == []


@deviation("runc", reason="takes / as its state directory")
def test_the_root_directory_is_no_state_root(runtime):
    runtime("--root", "/", "list").failed("/")


# -- what crun has besides -------------------------------------------------------------------------------

_CRUNS = deviation("runc", reason="it is crun's")


@_CRUNS
def test_another_config_than_the_bundles(runtime, bundle, work):
    bundle.write()
    other = {**bundle.config, "process": {**bundle.process, "args": ["echo", "other"]}}
    (work / "other.json").write_text(json.dumps(other))
    for option in ("--config", "-f"):
        id = runtime.remember(bundle.id)
        done = runtime("run", "--bundle", bundle.path, option, work / "other.json", id).ok()
        assert done.stdout == "other\n"
    runtime("run", "--bundle", bundle.path, "--config", work / "none.json", bundle.id).failed("none.json")


@_CRUNS
def test_kill_and_delete_by_a_pattern(runtime, new_bundle):
    bundles = [new_bundle() for _ in range(3)]
    for number, bundle in enumerate(bundles):
        bundle.id += f"-{'ab'[number // 2]}"
        runtime.launch(bundle, "sleep", "1000")
    runtime("kill", "--regex", "^pyrunc-.*-a$", "KILL").ok()
    for bundle in bundles[:2]:
        runtime.until_status(bundle, "stopped")
    assert runtime.status(bundles[2]) == "running"
    runtime("delete", "--regex", "[-]a$").ok()
    assert runtime("list", "-q").stdout.split() == [bundles[2].id]
    runtime("delete", "--regex", "--force", "(").failed("not a regular expression")
    runtime("delete", "--regex", "--force", ".").ok()
    assert runtime("list", "-q").stdout == ""
