"""A runtime, driven by its command line alone.

Output goes to files, not pipes: what `create` starts inherits stdout and keeps a pipe open long after
the command has returned. A `Done` reads its files anew each time, so what a detached container prints
later shows up in the `Done` of the command that made it.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from support import fields, host, leaks
from support.bundle import Bundle
from support.waiting import TIMEOUT_SECONDS, until

CHECKOUT = Path(__file__).resolve().parents[2]

# `sys.path` is the checkout, then the standard library, last what a virtual environment has installed:
# nothing in the caller's directory or environment may be imported by a runtime.
_LAUNCHER = """#!/bin/sh
exec {python} -ISE -c {program} "$@"
"""
_PROGRAM = """
import sys
sys.path.insert(0, {checkout!r})
sys.path.append({packages!r})
from pyrunc.cli.main import entry
entry()
"""


def write_launcher(path: Path) -> Path:
    """An executable that runs the runtime of this checkout with this interpreter, installed nowhere."""
    program = _PROGRAM.format(checkout=str(CHECKOUT), packages=sysconfig.get_path("purelib"))
    path.write_text(
        _LAUNCHER.format(python=shlex.quote(sys.executable), program=shlex.quote(program.strip()))
    )
    path.chmod(0o755)
    return path


class Done:
    """A finished command. `stdout` and `stderr` are read when asked for."""

    def __init__(self, argv: Sequence[str | bytes], returncode: int, stdout: Path, stderr: Path) -> None:
        self.argv, self.returncode = argv, returncode
        self.stdout_path, self.stderr_path = stdout, stderr

    @property
    def stdout(self) -> str:
        return self.stdout_path.read_text(errors="surrogateescape")

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="surrogateescape")

    @property
    def said(self) -> str:
        """All of its words, without the quoting of a log line."""
        return (self.stdout + self.stderr).replace('\\"', '"')

    @property
    def complaints(self) -> list[str]:
        """The lines of standard error that say what failed; a hint may follow one."""
        return [line for line in self.stderr.splitlines() if line and not line.startswith("hint: ")]

    def __repr__(self) -> str:
        return f"<rc {self.returncode}: {self.argv}\n stdout: {self.stdout}\n stderr: {self.stderr}>"

    def ok(self) -> Done:
        assert self.returncode == 0, self
        return self

    def failed(self, *words: str, status: int = 1) -> Done:
        """The command failed as a runtime should: this status, these words, nothing on stdout."""
        assert self.returncode == status, self
        for word in words:
            assert word in self.stderr.replace('\\"', '"'), self
        return self


class Runtime:
    """One state root of one runtime. Every container made through it is gone when `clean` returns."""

    def __init__(self, command: str, work: Path, watch: leaks.Watch) -> None:
        self.command = command
        self.require_clean = watch.require_clean
        self._before = watch.children
        self.work = work
        self.root = work / "state"
        self._numbers = itertools.count(1)
        self._ids: dict[str, None] = {}
        self._running: list[subprocess.Popen[bytes]] = []

    # -- any command ---------------------------------------------------------------------------------

    def argv(self, *arguments: object, before: Sequence[object] = ()) -> list[str | bytes]:
        words = (self.command, "--root", self.root, *_manager(before), *before, *arguments)
        return [word if isinstance(word, bytes) else str(word) for word in words]

    def popen(
        self,
        *arguments: object,
        before: Sequence[object] = (),
        prefix: Sequence[str] = (),
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str | bytes] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
        preexec_fn: Callable[[], object] | None = None,
        start_new_session: bool = False,
    ) -> subprocess.Popen[bytes]:
        """The command, not waited for: `clean` ends it if the test did not. `prefix` runs it under another
        program, such as setsid."""
        process = subprocess.Popen(
            [*prefix, *self.argv(*arguments, before=before)],
            stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd, pass_fds=pass_fds,
            preexec_fn=preexec_fn, start_new_session=start_new_session,
        )  # fmt: skip
        self._running.append(process)
        return process

    def __call__(
        self,
        *arguments: object,
        input: str | bytes | None = None,
        timeout: float = TIMEOUT_SECONDS,
        **how: Any,
    ) -> Done:
        number = next(self._numbers)
        out, err = (self.work / f"{number}.{name}" for name in ("stdout", "stderr"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
            process = self.popen(*arguments, stdin=stdin, stdout=stdout, stderr=stderr, **how)
        done = Done(process.args, 0, out, err)  # type: ignore[arg-type]
        try:
            process.communicate(input.encode() if isinstance(input, str) else input, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"not finished in {timeout} s: {done}") from None
        done.returncode = process.returncode
        return done

    # -- the verbs -----------------------------------------------------------------------------------

    def prepare(self, bundle: Bundle, *command: str, id: str | None = None) -> str:
        """Writes the bundle's config with this command, and remembers the id to clean up."""
        if command:
            bundle.process["args"] = list(command)
        bundle.write()
        return self.remember(bundle.id if id is None else id)

    def remember(self, id: str) -> str:
        self._ids[id] = None
        return id

    def run(
        self, bundle: Bundle, *command: str, options: Sequence[object] = (), id: str | None = None, **how: Any
    ) -> Done:
        name = self.prepare(bundle, *command, id=id)
        return self("run", "--bundle", bundle.path, *options, name, **how)

    def create(
        self, bundle: Bundle, *command: str, options: Sequence[object] = (), id: str | None = None, **how: Any
    ) -> Done:
        name = self.prepare(bundle, *command, id=id)
        return self("create", "--bundle", bundle.path, *options, name, **how)

    def launch(self, bundle: Bundle, *command: str, **how: Any) -> Done:
        """Create and start, both of which succeed. Its stdout is the container's."""
        created = self.create(bundle, *command, **how).ok()
        self.start(how.get("id") or bundle).ok()
        return created

    def start(self, container: Bundle | str, **how: Any) -> Done:
        return self("start", _id(container), **how)

    def exec(
        self, container: Bundle | str, *command: object, options: Sequence[object] = (), **how: Any
    ) -> Done:
        return self("exec", *options, _id(container), *command, **how)

    def kill(self, container: Bundle | str, *signal: object, **how: Any) -> Done:
        return self("kill", _id(container), *signal, **how)

    def delete(self, container: Bundle | str, *, force: bool = False, **how: Any) -> Done:
        return self("delete", *(("--force",) if force else ()), _id(container), **how)

    def state(self, container: Bundle | str) -> dict[str, Any]:
        found = json.loads(self("state", _id(container)).ok().stdout)
        assert isinstance(found, dict)
        fields.saw(fields.STATE, found)
        return found

    def status(self, container: Bundle | str) -> str:
        return str(self.state(container)["status"])

    def pid(self, container: Bundle | str) -> int:
        return int(self.state(container)["pid"])

    def until_status(self, container: Bundle | str, status: str) -> None:
        until(lambda: self.status(container) == status, f"{_id(container)} is {status}")

    def stop(self, container: Bundle | str) -> None:
        """SIGKILL, and wait until the runtime sees it."""
        self.kill(container, "KILL").ok()
        self.until_status(container, "stopped")

    def ask(self, bundle: Bundle, *, options: Sequence[object] = (), **questions: str) -> dict[str, str]:
        """Runs one container which executes each shell command; gives their outputs by name."""
        done = self.run(bundle, "sh", "-c", _questionnaire(questions), options=options).ok()
        return _answers(done.stdout)

    def ask_exec(
        self, container: Bundle | str, *, options: Sequence[object] = (), **questions: str
    ) -> dict[str, str]:
        """As `ask`, by `exec` into a container that runs."""
        done = self.exec(container, "sh", "-c", _questionnaire(questions), options=options).ok()
        return _answers(done.stdout)

    # -- the end -------------------------------------------------------------------------------------

    def clean(self) -> None:
        """Deletes what is left of every container by force, as a user would; must succeed each time."""
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()
        listed = []
        if self.root.is_dir():
            listed = [name for name in os.listdir(self.root) if (self.root / name).is_dir()]
        if "@shims" in listed:  # no container: what the shims of containers leave
            listed += os.listdir(self.root / "@shims")
            listed.remove("@shims")
        for name in dict.fromkeys((*self._ids, *listed)):
            if any((self.root / place).is_dir() for place in (name, f"@shims/{name}")) or leaks.cgroups(name):
                self._delete_and_reap(name)

    def _delete_and_reap(self, name: str) -> None:
        """PID 1 of a namespace ends when the last of the others is reaped: an exec's process is ours to."""
        err = self.work / "clean.stderr"
        with err.open("wb") as stderr:
            deleting = self.popen("delete", "--force", name, stdout=stderr, stderr=stderr)
        known = self._before | {process.pid for process in self._running}

        def finished() -> bool:
            leaks.reap_orphans(known)
            return deleting.poll() is not None

        until(finished, f"delete --force {name}", 60)
        assert deleting.returncode == 0, err.read_text()


def _manager(before: Sequence[object]) -> tuple[str, ...]:
    """Who makes the cgroups, where the whole run is of systemd's and the test doesn't say."""
    says = any("cgroup" in str(word) for word in before)
    return ("--systemd-cgroup",) if host.MANAGER == "systemd" and not says else ()


def _id(container: Bundle | str) -> str:
    return container.id if isinstance(container, Bundle) else container


_MARK = "-- answer to "


def _questionnaire(questions: Mapping[str, str]) -> str:
    # In braces, not parentheses: a shell's fork would answer for itself where /proc/self is asked for.
    return "\n".join(f"echo; echo '{_MARK}{name}'; {{ {line}\n}} 2>&1" for name, line in questions.items())


def _answers(text: str) -> dict[str, str]:
    parts = re.split(rf"\n{_MARK}(\w+)\n", text)
    return {name: answer.strip("\n") for name, answer in zip(parts[1::2], parts[2::2], strict=True)}
