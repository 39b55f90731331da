"""tools/install: what daemons call, from a tree of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pyrunc import __version__

CHECKOUT = Path(__file__).resolve().parents[3]
FIRST_LINE = f"pyrunc version {__version__}".encode()


@pytest.fixture(scope="module")
def vendor(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("vendor")
    shutil.copytree(Path(click.__file__).parent, directory / "click")
    return directory


@pytest.fixture(scope="module")
def prefix(vendor, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("prefix")
    install(vendor, directory, "")
    return directory


@pytest.fixture(params=["bin/pyrunc", "lib/pyrunc/bin/pyrunc"], ids=["installed", "script"])
def program(prefix, request) -> Path:
    """What is called: the launcher, where one could be built; and the script that it leaves rare calls to."""
    return prefix / request.param


def install(vendor: Path, prefix: Path, destdir: str) -> None:
    command = [CHECKOUT / "tools" / "install", os.path.realpath(sys.executable), vendor, prefix, destdir]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def call(program: Path, *words: str | bytes, **settings: object) -> subprocess.CompletedProcess[bytes]:
    command = [program, *words]
    return subprocess.run(command, capture_output=True, check=False, **settings)  # type: ignore[call-overload]


def test_it_runs_without_any_environment(program):
    done = call(program, "--version", env={})
    assert done.stdout.splitlines()[0] == FIRST_LINE
    assert done.stderr == b""


def test_the_version_names_the_commit_that_was_installed(program):
    known = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    (line,) = [
        line for line in call(program, "--version").stdout.splitlines() if line.startswith(b"commit: ")
    ]
    assert line.decode().removeprefix("commit: ").removesuffix("-dirty") == (
        known.stdout.strip() or __version__
    )


def test_help_finds_its_library_there(program):
    assert call(program, "kill", "--help", env={}).stdout.startswith(b"Usage: pyrunc kill")


def test_nothing_is_imported_from_the_callers_directory_or_environment(program, tmp_path):
    for name in ("pyrunc", "errno", "_json", "stat", "click", "sitecustomize", "usercustomize", "difflib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from where it must not be')")
    environment = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "errno.py"),
        "PYTHONHOME": "/x",
    }

    assert call(program, "--version", cwd=tmp_path, env=environment).stdout.splitlines()[0] == FIRST_LINE
    assert b"did you mean state" in call(program, "stat", cwd=tmp_path, env=environment).stderr
    assert call(program, cwd=tmp_path, env=environment).stdout.startswith(b"Usage: pyrunc")


def test_names_are_bytes_whatever_the_locale_says(program):
    for locale in ("C", "POSIX", "en_US.ISO-8859-1", "nonsense"):
        done = call(program, b"\xc3\xa4\xff", env={"LC_ALL": locale})
        assert "No help topic for 'ä\\udcff'".encode() in done.stderr


def test_everything_is_compiled_already_and_a_call_writes_nothing(prefix, program):
    before = listing(prefix)
    assert any(name.endswith(f"main.{sys.implementation.cache_tag}.pyc") for name, _ in before)
    call(program, "state", "nobody")
    call(program, "--help")
    assert listing(prefix) == before


def listing(directory: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in directory.rglob("*"))


def test_a_package_is_built_for_where_it_will_be(vendor, tmp_path):
    install(vendor, Path("/opt/pyrunc"), str(tmp_path))

    script = (tmp_path / "opt/pyrunc/lib/pyrunc/bin/pyrunc").read_text()
    assert '"/opt/pyrunc/lib/pyrunc"' in script
    assert script.startswith("#!/")
    program = (tmp_path / "opt/pyrunc/bin/pyrunc").read_bytes()
    assert program == script.encode() or b"\0/opt/pyrunc/lib/pyrunc/bin/pyrunc\0" in program
    compiled = list((tmp_path / "opt/pyrunc/lib/pyrunc/pyrunc/cli").rglob("main.*.pyc"))
    assert b"/opt/pyrunc/lib/pyrunc/pyrunc/cli/main.py" in compiled[0].read_bytes()
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and str(tmp_path).encode() in path.read_bytes()
    ]


def test_a_new_installation_replaces_all_of_the_old_one(vendor, tmp_path):
    install(vendor, tmp_path, "")
    stale = tmp_path / "lib" / "pyrunc" / "pyrunc" / "stale.py"
    stale.touch()
    install(vendor, tmp_path, "")
    assert not stale.exists()
    assert [path.name for path in (tmp_path / "lib").iterdir()] == ["pyrunc"]
    programs = {"pyrunc", "pyruncd", "pyr", "containerd-shim-pyrunc-v2"}
    assert {path.name for path in (tmp_path / "bin").iterdir()} == programs


def test_uninstall_leaves_nothing(vendor, tmp_path):
    install(vendor, tmp_path, "")
    command = ["make", "-C", CHECKOUT, "uninstall", f"PREFIX={tmp_path}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_a_prefix_that_depends_on_where_one_stands_is_refused(vendor):
    with pytest.raises(subprocess.CalledProcessError):
        install(vendor, Path("relative"), "")


@pytest.fixture(scope="module")
def broken_bundles(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("bundles")
    for name, text in (("text", "{"), ("schema", '{"ociVersion": 1}'), ("rule", '{"ociVersion": "1.0.2"}')):
        (directory / name).mkdir()
        (directory / name / "config.json").write_text(text)
    return directory


@pytest.mark.parametrize(
    "words",
    [
        ["--version"], ["features"], ["spec", "--help"], ["kill", "--help"], ["stat"], ["state"],
        ["state", "--x"], ["state", "nobody"], ["state", b"\xff\xc3\xa4"], ["state", "a/b"],
        ["kill", "nobody", "NOSIGNAL"], ["--debug", "delete", "nobody"], ["list"],
        ["list", "--format", "json"],
        ["ps", "nobody"], ["events", "nobody"], ["--log-format", "json", "start", "nobody"],
        ["--root", "", "state", "x"], ["--log", "/nowhere/log", "list"], ["validate", "schema"],
        ["validate", "text"], ["create", "--bundle", "/nowhere", "x"], ["create", "--bundle", "text", "x"],
        ["create", "--bundle", "schema", "x"], ["run", "--bundle", "rule", "x"], ["completion", "bash"],
        ["help", "exec"], [],
    ],
    ids=repr,
)  # fmt: skip
def test_both_entries_give_the_same_answer(prefix, broken_bundles, tmp_path, words):
    answers = []
    for entry in ("bin/pyrunc", "lib/pyrunc/bin/pyrunc"):
        root = ["--root", str(tmp_path / "state")]
        done = call(prefix / entry, *root, *words, cwd=broken_bundles, stdin=subprocess.DEVNULL)
        said = done.stdout + b"|" + done.stderr
        said = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|launcher: \w+", b"", said)
        answers.append((done.returncode, said.replace(b"lib/pyrunc/bin/pyrunc", b"bin/pyrunc")))
    assert answers[0] == answers[1]
    assert b"internal error" not in answers[0][1]


def test_what_nobody_reads_is_no_failure_with_words(program):
    """As SIGPIPE would end it: 141, and quiet."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([program, "features"], stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (128 + 13, b"")
