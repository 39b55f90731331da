"""What a caller may have around the runtime: no environment, another one, another directory, other users."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.bundle import Bundle
from support.marks import deviation

EMPTY = {"XDG_RUNTIME_DIR": ""}  # podman gives kill, delete, pause and resume nothing more


def test_every_verb_without_an_environment(runtime, bundle):
    runtime.create(bundle, "sleep", "1000", env={}).ok()
    runtime.start(bundle, env=EMPTY).ok()
    assert runtime("state", bundle.id, env={}).ok().stdout
    assert runtime.exec(bundle, "echo", "x", env={}).ok().stdout == "x\n"
    runtime("pause", bundle.id, env=EMPTY).ok()
    runtime("resume", bundle.id, env=EMPTY).ok()
    runtime("update", "--pids-limit", "50", bundle.id, env={}).ok()
    assert runtime("ps", "-f", "json", bundle.id, env={}).ok().stdout
    runtime.kill(bundle, "9", env=EMPTY).ok()
    runtime.until_status(bundle, "stopped")
    runtime.delete(bundle, env=EMPTY).ok()
    runtime.delete(bundle, force=True, env=EMPTY).ok()


def test_run_without_an_environment(runtime, bundle):
    done = runtime.run(bundle, "env", env={}).ok()
    assert "PATH=" in done.stdout


@pytest.mark.parametrize("language", ["C", "POSIX", "tr_TR.UTF-8", "xx_XX.nonsense"])
def test_any_locale(runtime, bundle, language):
    done = runtime.run(bundle, "echo", "äöü", env={**os.environ, "LC_ALL": language, "LANG": language}).ok()
    assert done.stdout == "äöü\n"


def test_python_variables_of_the_caller_mean_nothing(runtime, bundle, work):
    """containerd passes its own environment on, and an interpreter would look into it."""
    evil = work / "evil"
    evil.mkdir()
    for name in ("json", "os", "sitecustomize", "usercustomize", "encodings", "pyrunc", "signal", "errno"):
        (evil / f"{name}.py").write_text(f"open({str(evil / 'canary')!r}, 'w')\nraise SystemExit(99)\n")
    env = {
        **os.environ, "PYTHONPATH": str(evil), "PYTHONHOME": str(evil), "PYTHONSTARTUP": str(evil / "os.py"),
        "PYTHONWARNINGS": "error", "PYTHONINSPECT": "1", "PYTHONUNBUFFERED": "1", "PYTHONUSERBASE": str(evil),
        "PYTHONVERBOSE": "1", "PYTHONDEVMODE": "1", "PYTHONPROFILEIMPORTTIME": "1", "PYTHONMALLOC": "debug",
        "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
        "PYTHONPLATLIBDIR": "evil",
    }  # fmt: skip
    done = runtime.run(bundle, "echo", "ä", env=env, cwd=evil).ok()
    assert (done.stdout, done.stderr) == ("ä\n", "")
    assert runtime("list", "-q", env=env, cwd=evil).ok().stderr == ""
    assert not (evil / "canary").exists()


def test_code_in_the_working_directory_or_the_bundle_is_not_imported(runtime, bundle):
    for name in ("os", "json", "encodings", "pyrunc", "sitecustomize", "_ctypes", "select"):
        (bundle.path / f"{name}.py").write_text("raise SystemExit(99)\n")
    runtime.prepare(bundle, "true")
    runtime("run", bundle.id, cwd=bundle.path).ok()


def test_code_in_the_image_is_not_run(runtime, bundle):
    """CVE-2019-14271: libraries and modules looked up after the root has changed."""
    bundle.writable()
    hostile = "open('/canary', 'w')\nraise SystemExit(99)\n"
    for place in (
        "usr/lib/python3",
        "usr/lib/python3.11",
        "usr/local/lib/python3.11",
        "usr/lib/python3/dist-packages",
    ):
        directory = bundle.rootfs / place
        (directory / "encodings").mkdir(parents=True)
        for name in (
            "os",
            "codecs",
            "traceback",
            "linecache",
            "pwd",
            "sitecustomize",
            "encodings/__init__",
            "encodings/idna",
        ):
            (directory / f"{name}.py").write_text(hostile)
    for place in ("lib", "lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"):
        (bundle.rootfs / place).mkdir(parents=True, exist_ok=True)
        for name in ("libnss_files.so.2", "libc.so.6", "libseccomp.so.2"):
            (bundle.rootfs / place / name).write_text("not a library")
    (bundle.rootfs / "etc/ld.so.preload").write_text("/lib/libc.so.6\n")
    (bundle.rootfs / "etc/nsswitch.conf").write_text("passwd: files hostile\n")
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert runtime.run(bundle, "echo", "fine").ok().stdout == "fine\n"
    runtime.launch(bundle, "sleep", "1000")
    runtime.exec(bundle, "true").ok()
    runtime.exec(bundle, "/no/such").failed(status=255)
    assert not (bundle.rootfs / "canary").exists()


def test_a_deep_path_to_everything(runtime, new_bundle, work):
    """A bundle whose path is longer than most buffers."""
    deep = Bundle(work.joinpath(*["d" * 100] * 12) / "bundle")
    assert runtime.ask(deep, fine="echo fine; cat /proc/1/comm") == {"fine": "fine\nsh"}


def test_a_path_with_strange_characters(runtime, work):
    strange = Bundle(work / "a b\tc:d,e=f\\g'h\"ü%s")
    strange.mount("/data", "tmpfs", "tmpfs")
    strange.bind(strange.rootfs / "etc", "/bound", "ro")
    assert runtime.ask(strange, list="ls /bound") == {"list": "group\npasswd"}


def test_many_containers_at_once(runtime, new_bundle):
    bundles = [new_bundle() for _ in range(12)]

    def life(bundle):
        done = runtime.run(bundle, "echo", bundle.id)
        return done.returncode, done.stdout

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(life, bundles))
    assert results == [(0, f"{bundle.id}\n") for bundle in bundles]


@deviation("runc", reason="looks first and makes the directory later", sometimes=True)
def test_two_callers_race_for_one_id(runtime, new_bundle):
    """One wins, the other is told so, and the winner's container is whole."""
    bundles = [new_bundle() for _ in range(4)]
    for bundle in bundles:
        bundle.process["args"] = ["sleep", "1000"]
        bundle.write()
    id = runtime.remember(bundles[0].id)

    def create(bundle):
        return runtime("create", "--bundle", bundle.path, id)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(create, bundles))
    if [done.returncode for done in results].count(0) != 1 or runtime("state", id).returncode != 0:
        runtime.delete(id, force=True)
        runtime.require_clean()
    assert sorted(done.returncode for done in results) == [0, 1, 1, 1]
    for done in results:
        if done.returncode:
            assert "already exists" in done.stderr
    runtime.start(id).ok()
    runtime.exec(id, "true").ok()
    runtime.delete(id, force=True).ok()
    runtime.require_clean()


def test_two_callers_race_to_delete(runtime, running):
    runtime.stop(running)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: runtime.delete(running, force=True), range(4)))
    assert [done.returncode for done in results].count(0) >= 1
    runtime("state", running.id).failed("does not exist")


def test_start_is_for_one_caller(runtime, bundle):
    created = runtime.create(bundle, "sh", "-c", "echo begun; sleep 1000").ok()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: runtime.start(bundle), range(4)))
    assert [done.returncode for done in results].count(0) >= 1
    assert created.stdout in ("", "begun\n")
    assert runtime.status(bundle) == "running"
