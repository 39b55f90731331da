"""Bundles that cannot work: one clear error, exit status 1, and nothing left behind (the fixture looks)."""

import json
import re

import pytest
from support import elf
from support.fields import covers
from support.marks import deviation


def refused(runtime, bundle, *words, verb="create"):
    """Both verbs refuse it in one sentence; the container was never there."""
    for verb in ("create", "run"):
        done = runtime(verb, "--bundle", bundle.path, runtime.remember(bundle.id))
        done.failed(*words)
        assert len(done.complaints) == 1, done
        assert "Traceback" not in done.stderr
        assert "panic" not in done.stderr
        runtime("state", bundle.id).failed("container does not exist")


def test_no_config(runtime, bundle):
    refused(runtime, bundle, "JSON specification file config.json not found")


def test_no_bundle(runtime, bundle):
    done = runtime("create", "--bundle", bundle.path / "missing", bundle.id)
    done.failed("no such file or directory")


def test_a_bundle_that_is_a_file(runtime, bundle):
    bundle.write()
    done = runtime("create", "--bundle", bundle.path / "config.json", bundle.id)
    done.failed("not a directory")


def test_a_config_that_is_a_directory(runtime, bundle):
    (bundle.path / "config.json").mkdir()
    refused(runtime, bundle, "is a directory")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        pytest.param("null", marks=deviation("runc", reason="panics")),
        '"text"',
        "{'single': 1}",
        '{"ociVersion": "1.0.2",}',
        "[" * 100_000,
    ],
    ids=["empty", "cut off", "a list", "null", "a string", "single quotes", "a comma too many", "too deep"],
)  # fmt: skip
def test_what_is_not_a_json_object(runtime, bundle, text):
    (bundle.path / "config.json").write_text(text)
    refused(runtime, bundle)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("process/args", "sh"), ("process/args", [1]), ("process/cwd", 5), ("process/env", {"A": "b"}),
        ("process/user/uid", "root"), ("process/terminal", "yes"), ("process/rlimits", {}), ("mounts", {}),
        ("mounts/0", "proc"), ("mounts/0/options", "ro"), ("root", "rootfs"), ("root/readonly", "no"),
        ("hostname", 5), ("linux", []), ("linux/namespaces", {}), ("linux/maskedPaths", "/proc/keys"),
        ("linux/resources/devices", {}), ("linux/sysctl", []), ("hooks", []), ("hooks", {"prestart": {}}),
        ("annotations", []), ("annotations", {"a": 1}), ("linux/uidMappings", {}), ("process/user", 0),
        ("process/capabilities", ["CAP_KILL"]), ("linux/resources/memory", {"limit": "64m"}),
        ("linux/resources/memory", {"limit": 1.5}), ("process/oomScoreAdj", "high"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value),
)  # fmt: skip
def test_a_wrong_type(runtime, bundle, pointer, value):
    *way, last = pointer.split("/")
    node = bundle.config
    for step in way:
        node = node[int(step)] if isinstance(node, list) else node[step]
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    bundle.write()
    refused(runtime, bundle)


_ACCEPTS = deviation("runc", reason="accepts it")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda c: c.pop("ociVersion"), id="no version", marks=_ACCEPTS),
        pytest.param(lambda c: c.update(ociVersion="latest"), id="a version that is none", marks=_ACCEPTS),
        pytest.param(lambda c: c.update(ociVersion="2.0.0"), id="another major version", marks=_ACCEPTS),
        pytest.param(lambda c: c.update(annotations={"": "x"}), id="an empty key", marks=_ACCEPTS),
        pytest.param(
            lambda c: c["mounts"].append({"type": "tmpfs"}),
            id="a mount without a destination",
            marks=deviation("runc", reason="mounts it upon the root, and stumbles later"),
        ),
        pytest.param(lambda c: c.update(hooks={"prestart": [{"args": ["x"]}]}), id="a hook without a path"),
        pytest.param(
            lambda c: c.update(hooks={"prestart": [{"path": "/bin/true", "timeout": -1}]}),
            id="a hook with a negative timeout",
        ),
        pytest.param(
            lambda c: c["linux"]["namespaces"].append({"type": "user", "path": "proc/x"}),
            id="a relative namespace path",
        ),
        pytest.param(
            lambda c: c["linux"]["namespaces"].append({"path": "/proc/1/ns/net"}),
            id="a namespace without a type",
        ),
    ],
)
def test_what_the_schema_or_the_text_of_the_specification_forbids(runtime, bundle, change):
    change(bundle.config)
    bundle.write()
    refused(runtime, bundle)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda c: c.update(unknown={"deep": [1]}), id="at the top"),
        pytest.param(lambda c: c["process"].update(unknown=1), id="in process"),
        pytest.param(lambda c: c["linux"].update(unknown=1), id="in linux"),
        pytest.param(lambda c: c.update(windows={"layerFolders": ["x"]}), id="another platform"),
    ],
)
def test_unknown_properties_are_ignored(runtime, bundle, change):
    change(bundle.config)
    runtime.run(bundle, "true").ok()


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.1.0+dev", "1.2.1", "1.99.0"])
@covers("/ociVersion")
def test_every_version_with_our_major_number(runtime, bundle, version):
    bundle.config["ociVersion"] = version
    runtime.run(bundle, "true").ok()


def test_null_is_as_good_as_absent(runtime, bundle):
    """Go's encoder writes it for an empty list."""
    bundle.config.update(hooks=None, annotations=None)
    bundle.process.update(rlimits=None, apparmorProfile="", selinuxLabel="")
    bundle.linux.update(seccomp=None, sysctl=None, devices=None, uidMappings=None, gidMappings=None)
    runtime.run(bundle, "true").ok()


def test_duplicate_keys_the_last_counts(runtime, bundle):
    bundle.process["args"] = ["true"]
    text = json.dumps(bundle.config)
    text = text.replace('"hostname": "inside"', '"hostname": "first", "hostname": "last"')
    text = text.replace('["true"]', '["hostname"]')
    (bundle.path / "config.json").write_text(text)
    runtime.remember(bundle.id)
    assert runtime("run", "--bundle", bundle.path, bundle.id).ok().stdout == "last\n"


# -- process and root ------------------------------------------------------------------------------------


def test_no_process(runtime, bundle):
    del bundle.config["process"]
    bundle.write()
    refused(runtime, bundle, "process")


def test_no_arguments(runtime, bundle):
    bundle.process["args"] = []
    bundle.write()
    refused(runtime, bundle, "args must not be empty")


@pytest.mark.parametrize(
    ("cwd", "words"), [("", "Cwd property must not be empty"), ("x", "Cwd must be an absolute path")]
)
def test_no_working_directory(runtime, bundle, cwd, words):
    bundle.process["cwd"] = cwd
    bundle.write()
    refused(runtime, bundle, words)


def test_no_root(runtime, bundle):
    del bundle.config["root"]
    bundle.write()
    refused(runtime, bundle, "oot")


def test_a_missing_rootfs(runtime, bundle):
    bundle.rootfs.rename(bundle.path / "elsewhere")
    bundle.write()
    refused(runtime, bundle, "rootfs", "no such file or directory")


@deviation("runc", reason="says so three steps later, as a mount that failed")
def test_a_rootfs_that_is_a_file(runtime, bundle):
    bundle.rootfs.rename(bundle.path / "elsewhere")
    bundle.rootfs.write_text("")
    bundle.write()
    refused(runtime, bundle, "not a directory", str(bundle.rootfs))


# -- the program -----------------------------------------------------------------------------------------

# name: content and mode of /usr/bin/program, what the error says, whether only the kernel finds out
PROGRAMS = {
    "missing": (None, "no such file or directory", False),
    "not executable": (("#!/bin/sh\n", 0o644), "permission denied", False),
    "a directory": ("directory", "permission denied", False),
    "another architecture": ((elf.foreign_program(), 0o755), "exec format error", True),
    "no interpreter": (("#!/no/such/interpreter\n", 0o755), "no such file or directory", True),
    "a carriage return": (("#!/bin/sh\r\necho x\r\n", 0o755), "no such file or directory", True),
    "empty": (("", 0o755), "exec format error", True),
    "garbage": (("garbage\n", 0o755), "exec format error", True),
    "a broken program": ((b"\x7fELF" + bytes(60), 0o755), "exec format error", True),
}
_BY_KERNEL = deviation("runc", reason="exits with the status of its own init, 1, when execve fails in exec")


def install_bad(bundle, name):
    content, words, _ = PROGRAMS[name]
    path = bundle.rootfs / "usr/bin/program"
    if content == "directory":
        path.mkdir()
    elif content is not None:
        elf.install(path, *content)
    return words


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_cannot_run(runtime, bundle, name):
    words = install_bad(bundle, name)
    done = runtime.run(bundle, "/usr/bin/program").failed(words)
    assert len(done.complaints) == 1, done
    assert "/usr/bin/program" in done.stderr
    runtime("state", bundle.id).failed("container does not exist")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[_BY_KERNEL] if late else []) for name, (_, _, late) in PROGRAMS.items()],
)
def test_a_program_that_cannot_run_by_exec(runtime, bundle, name):
    words = install_bad(bundle, name)
    runtime.launch(bundle, "sleep", "1000")
    done = runtime.exec(bundle, "/usr/bin/program").failed(words, status=255)
    assert len(done.complaints) == 1, done
    assert runtime.status(bundle) == "running"


def test_a_program_that_is_in_no_path(runtime, bundle):
    bundle.process["args"] = ["no-such-program"]
    bundle.write()
    refused(runtime, bundle, 'exec: "no-such-program": executable file not found in $PATH')


def test_a_missing_program_in_the_words_that_callers_match(runtime, bundle):
    """podman and docker make their exit status 127 of them."""
    bundle.process["args"] = ["/no/such"]
    bundle.write()
    refused(runtime, bundle, 'exec: "/no/such": stat /no/such: no such file or directory')


def test_a_failed_create_writes_no_pid_file(runtime, bundle, work):
    runtime.create(bundle, "/no/such", options=("--pid-file", work / "pid")).failed()
    assert not (work / "pid").exists()


def test_a_pid_file_that_cannot_be_written(runtime, bundle, work):
    runtime.create(bundle, "sleep", "1000", options=("--pid-file", work / "no/such/pid")).failed(
        "no such file"
    )
    runtime("state", bundle.id).failed("container does not exist")


@pytest.mark.parametrize("number", ["x", pytest.param("-1", marks=_ACCEPTS)])
def test_an_option_that_is_no_number(runtime, bundle, number):
    done = runtime.create(bundle, options=("--preserve-fds", number))
    assert done.returncode == 1, done
    assert re.search("preserve-fds|invalid", done.said)
