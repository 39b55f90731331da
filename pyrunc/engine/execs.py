"""Further processes in a container: what `docker exec` asks for in three calls, make, start, ask how it
ended.

They are kept in memory alone: with the daemon ends who asked for them. The process goes on, with its shim.
"""

from __future__ import annotations

import os
import secrets
import threading

from pyrunc.engine.hostconfig import merge_environment
from pyrunc.engine.model import Container
from pyrunc.engine.spec.facts import Facts
from pyrunc.engine.spec.process import environment_of, make_capabilities, make_user
from pyrunc.engine.state import PAUSED
from pyrunc.engine.users import find_user
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.kernel import fds
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.layout import Layout

_SETTLING_SECONDS = 0.2  # so long may an exec that has closed its streams take to end
_KEPT = 1000

# of errors that mean that there is no such program (exit code 127, not 126)
_NOT_THERE = ("executable file not found", "no such file or directory")


class Exec:
    """`wanted`: the body of the API's call. `inner`: what the shim calls it."""

    def __init__(self, container: Container, wanted: dict[str, Any]) -> None:
        self.id = secrets.token_hex(32)
        self.container, self.wanted = container, wanted
        self.inner, self.pid = "", 0
        self.exit_code: int | None = None
        self.size: tuple[int, int] | None = None  # rows, columns: asked for before it was started
        self.lock = threading.Lock()

    @property
    def command(self) -> list[str]:
        return list(self.wanted["Cmd"])

    @property
    def has_terminal(self) -> bool:
        return bool(self.wanted.get("Tty"))

    @property
    def is_running(self) -> bool:
        return bool(self.inner) and self.exit_code is None


class Execs:
    def __init__(self, layout: Layout, containers: Containers, bounding: frozenset[str]) -> None:
        self._layout, self._containers, self._bounding = layout, containers, bounding
        self._execs: dict[str, Exec] = {}

    def create(self, text: str, wanted: dict[str, Any]) -> Exec:
        """Raises PyruncError CONFLICT if the container does not run."""
        container = self._require_running(text)
        command = wanted.get("Cmd")
        if type(command) is not list or not command or not all(type(word) is str for word in command):
            raise PyruncError(INVALID, "No exec command specified")
        made = Exec(container, wanted)
        ended = [id for id, found in self._execs.items() if found.exit_code is not None]
        for id in ended[: max(len(self._execs) - _KEPT, 0)]:
            self._execs.pop(id, None)
        self._execs[made.id] = made
        self._publish(made, "exec_create: " + " ".join(made.command))
        return made

    def _require_running(self, text: str) -> Container:
        container = self._containers.find(text)
        state = self._containers.state(container)
        if not state.is_running:
            raise PyruncError(CONFLICT, f"container {container.id} is not running")
        if state.status == PAUSED:
            raise PyruncError(
                CONFLICT, f"container {container.name} is paused, unpause the container before exec"
            )
        return container

    def find(self, id: str) -> Exec:
        """Raises PyruncError NOT_FOUND."""
        if id not in self._execs:
            raise PyruncError(NOT_FOUND, f"No such exec instance: {id}")
        return self._execs[id]

    def of_container(self, id: str) -> list[str]:
        return [found.id for found in self._execs.values() if found.container.id == id and found.is_running]

    def prepare(self, id: str) -> Exec:
        """To be started: raises PyruncError CONFLICT if it was."""
        found = self.find(id)
        self._require_running(found.container.id)
        if found.inner or found.exit_code is not None:
            raise PyruncError(CONFLICT, f"Error: Exec command {id} has already run")
        return found

    def start(self, found: Exec, stream: int | None, *, multiplexed: bool, detach_keys: str = "") -> None:
        """`stream`: the client's connection, which stays the caller's; None: nobody listens. Returns when the
        process runs. Raises PyruncError, what the runtime said."""
        directory = self._layout.container(found.container.id)
        with found.lock:
            try:
                process = self._make_process(found)
                if stream is None:
                    answer = self._start_detached(directory, process)
                else:
                    answer = protocol.execute(
                        directory,
                        process,
                        {"stream": stream},
                        stdin=bool(found.wanted.get("AttachStdin")),
                        detach_keys=detach_keys,
                        multiplexed=multiplexed,
                    )
            except PyruncError as error:
                found.exit_code = 127 if any(words in str(error) for words in _NOT_THERE) else 126
                raise
            found.inner, found.pid = answer["exec"], answer["pid"]
        self._publish(found, "exec_start: " + " ".join(found.command))
        if found.size is not None:
            self.resize(found.id, *found.size)

    def _start_detached(self, directory: str, process: dict[str, Any]) -> dict[str, Any]:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            given = {} if process["terminal"] else {"stdin": null, "stdout": null, "stderr": null}
            answer: dict[str, Any] = protocol.execute(directory, process, given)
            return answer
        finally:
            os.close(null)

    def _make_process(self, found: Exec) -> dict[str, Any]:
        container, wanted = found.container, found.wanted
        with doing("look up the user", wanted.get("User") or ""):
            user = find_user(
                self._layout.rootfs(container.id),
                wanted.get("User") or container.config["User"],
                container.host["GroupAdd"] or (),
            )
        host = dict(container.host)
        if wanted.get("Privileged"):
            host["Privileged"] = True
        facts = Facts(rootfs="", hostname=container.config["Hostname"])
        environment = environment_of(container, facts)
        if found.has_terminal:
            environment = merge_environment(["TERM=xterm"], environment)
        process: dict[str, Any] = {
            "terminal": found.has_terminal,
            "user": make_user(user),
            "args": found.command,
            "env": merge_environment(environment, wanted.get("Env") or []),
            "cwd": wanted.get("WorkingDir") or container.config["WorkingDir"] or "/",
            "capabilities": make_capabilities(host, user, self._bounding),
        }
        size = wanted.get("ConsoleSize") or found.size
        if found.has_terminal and size:
            process["consoleSize"] = {"height": size[0], "width": size[1]}
        return process

    def resize(self, id: str, rows: int, columns: int) -> None:
        """Before it was started, the size is kept for then."""
        found = self.find(id)
        with found.lock:
            if not found.inner:
                found.size = rows, columns
                return
        if found.exit_code is None:
            protocol.call(
                self._layout.container(found.container.id),
                "resize",
                rows=rows,
                columns=columns,
                exec=found.inner,
            )

    def inspect(self, id: str) -> Exec:
        """Whoever has just seen the end of its output asks for the exit code: the end may not have been told
        yet, so it is asked for here."""
        found = self.find(id)
        with found.lock:
            if found.is_running:
                self._ask(found)
        return found

    def _ask(self, found: Exec) -> None:
        try:
            connection = protocol.Connection(self._layout.container(found.container.id))
        except PyruncError as error:
            if error.kind != NOT_FOUND:
                raise
            found.exit_code = 137  # the container has ended, and it with it
            return
        try:
            message = {"verb": "wait", "descriptors": [], "exec": found.inner}
            fds.send(connection.fileno(), protocol.encode(message))
            answer = connection.next_event(_SETTLING_SECONDS)
            if answer is not None:
                found.exit_code = answer["exit_code"]
        finally:
            connection.close()

    def tell(self, container: Container, event: dict[str, Any]) -> None:
        """From the watch: one of them has ended."""
        for found in list(self._execs.values()):
            if found.container.id == container.id and found.inner == event.get("exec"):
                found.exit_code = event["exit_code"]
                self._publish(found, "exec_die", exitCode=str(found.exit_code))

    def _publish(self, found: Exec, action: str, **attributes: str) -> None:
        self._containers.publish(found.container, action, execID=found.id, **attributes)
