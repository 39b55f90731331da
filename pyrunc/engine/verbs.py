"""What is done to a container that runs: asked of its shim, in Docker's words."""

from __future__ import annotations

import os

from pyrunc.engine.attachments import Attachment, attach
from pyrunc.engine.bundle import make_restart
from pyrunc.engine.devices import with_numbers
from pyrunc.engine.hostconfig import require_cpus, require_resources, require_restart_policy
from pyrunc.engine.spec.resources import make_limits
from pyrunc.engine.state import PAUSED, REMOVING
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, NOT_MODIFIED, WRONG_STATE, PyruncError
from pyrunc.kernel.signals import describe_signal, parse_signal
from pyrunc.record import replaced
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.engine.attachments import Waiting
    from pyrunc.engine.containers import Containers
    from pyrunc.engine.events import Bus
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.locks import Locks
    from pyrunc.engine.model import Container
    from pyrunc.engine.runner import Runner
    from pyrunc.engine.state import State

NOT_RUNNING, NEXT_EXIT, REMOVED = "not-running", "next-exit", "removed"
_UPDATABLE = (
    "CpuShares", "Memory", "CgroupParent", "BlkioWeight", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod",
    "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems", "MemoryReservation", "MemorySwap", "NanoCpus",
    "PidsLimit",
)  # fmt: skip


class Verbs:
    def __init__(
        self,
        layout: Layout,
        bus: Bus,
        locks: Locks,
        containers: Containers,
        runner: Runner,
        waiting: Waiting,
        *,
        is_cgroup2: bool,
    ) -> None:
        self._layout, self._bus, self._locks = layout, bus, locks
        self._containers, self._runner, self._waiting = containers, runner, waiting
        self._is_cgroup2 = is_cgroup2

    def _running(self, text: str, verb: str) -> tuple[Container, State]:
        """Raises PyruncError NOT_FOUND, CONFLICT."""
        container = self._containers.find(text)
        state = self._containers.state(container)
        if not state.is_running:
            raise PyruncError(
                CONFLICT, f"cannot {verb} container: {text}: container {container.id} is not running"
            )
        return container, state

    def _call(self, container: Container, verb: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = protocol.call(self._layout.container(container.id), verb, **arguments)
        return answer

    # --- ending it --------------------------------------------------------------------------------

    def stop(self, text: str, *, timeout: int | None = None, signal: str = "") -> None:
        """Returns when it has ended, and nothing of it is left but its files. `timeout`: seconds until KILL;
        -1: none. Raises PyruncError NOT_MODIFIED if it does not run."""
        container = self._containers.find(text)
        if not self._containers.state(container).is_running:
            raise PyruncError(NOT_MODIFIED, f"container {container.name} is not running")
        if signal:
            parse_signal(signal)
        self._mark_stopped(container.id)
        arguments: dict[str, Any] = {"signal": signal} if signal else {}
        if timeout is not None:
            arguments["timeout"] = timeout
        try:
            self._call(container, "stop", **arguments)
        except PyruncError as error:
            if error.kind not in (NOT_FOUND, WRONG_STATE):  # it ended meanwhile
                raise
        self._runner.await_end(container.id)
        self._settle(container.id)
        self._containers.publish(container, "stop")

    def _mark_stopped(self, id: str) -> None:
        with self._locks.holding(id):
            container = self._containers.get(id)
            if container is not None:
                self._containers.update(replaced(container, was_stopped=True))

    def _settle(self, id: str) -> None:
        with self._locks.holding(id):
            container = self._containers.get(id)
            if container is not None and not self._containers.state(container).is_running:
                self._runner.settle(container)

    def kill(self, text: str, signal: str = "KILL") -> None:
        """Raises PyruncError INVALID for what is no signal, CONFLICT if it does not run."""
        try:
            number = parse_signal(signal or "KILL")
        except PyruncError:
            raise PyruncError(INVALID, f"invalid signal: {signal}") from None
        container, _ = self._running(text, "kill")
        name = describe_signal(number)
        if name in ("KILL", "SIGKILL"):
            self._mark_stopped(container.id)
        self._call(container, "kill", signal=str(number), everyone=False)

    def restart(self, text: str, *, timeout: int | None = None, signal: str = "") -> None:
        """One that does not run is started."""
        container = self._containers.find(text)
        try:
            self.stop(container.id, timeout=timeout, signal=signal)
        except PyruncError as error:
            if error.kind != NOT_MODIFIED:
                raise
        self._runner.start_again(container)

    def pause(self, text: str) -> None:
        container, state = self._running(text, "pause")
        if state.status == PAUSED:
            raise PyruncError(CONFLICT, f"container {container.id} is already paused")
        self._call(container, "pause")

    def unpause(self, text: str) -> None:
        container = self._containers.find(text)
        if self._containers.state(container).status != PAUSED:
            raise PyruncError(CONFLICT, f"Container {container.id} is not paused")
        self._call(container, "resume")

    # --- waiting ----------------------------------------------------------------------------------

    def wait(
        self, text: str, condition: str, sleep: Callable[[int], bool]
    ) -> tuple[Callable[[], int | None], Callable[[], None]]:
        """(What waits: call it for the container's exit code, or None if `sleep` gave up; what ends that, to
        be called in any case.) It misses nothing from now on. `sleep(fd)`: until the descriptor can be read;
        False to give up. Raises PyruncError."""
        container = self._containers.find(text)
        if condition not in ("", NOT_RUNNING, NEXT_EXIT, REMOVED):
            raise PyruncError(INVALID, f'invalid condition: "{condition}"')
        subscription = self._bus.subscribe(
            lambda event: event.id == container.id and event.action in ("die", "destroy")
        )

        def wait() -> int | None:
            code = 0
            if condition in ("", NOT_RUNNING):
                state = self._containers.state(container)
                if not state.is_running:
                    return state.exit_code
            while sleep(subscription.fileno()):
                for event in subscription.take():
                    if event.action == "die":
                        code = int(event.attributes["exitCode"])
                        if condition != REMOVED:
                            return code
                    else:
                        return code
            return None

        return wait, subscription.close

    # --- streams ----------------------------------------------------------------------------------

    def announce_attach(self, text: str) -> Callable[[], None]:
        """Before the client is told that it may: call what is returned after `attach`, or if that will not
        be. Raises PyruncError CONFLICT."""
        container = self._containers.find(text)
        state = self._containers.state(container)
        if state.status == PAUSED:
            raise PyruncError(CONFLICT, f"container {text} is paused, unpause the container before attach")
        if state.status == REMOVING:
            raise PyruncError(CONFLICT, f"container {text} is being removed")
        return self._waiting.announce(container.id)

    def attach(
        self,
        text: str,
        fd: int,
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        multiplexed: bool,
        detach_keys: str,
    ) -> None:
        """`fd` stays the caller's: the shim has a copy, or one waits here for the start. Raises
        PyruncError."""
        container = self._containers.find(text)
        wanted = Attachment(
            stdin=stdin, stdout=stdout, stderr=stderr, multiplexed=multiplexed, detach_keys=detach_keys
        )
        self._containers.publish(container, "attach")
        if self._containers.state(container).is_running:
            attach(self._layout.container(container.id), fd, wanted)
        else:
            self._waiting.add(container.id, fd, wanted)

    def resize(self, text: str, rows: int, columns: int) -> None:
        container, _ = self._running(text, "resize")
        self._call(container, "resize", rows=rows, columns=columns)
        self._containers.publish(container, "resize", height=str(rows), width=str(columns))

    # --- changing ---------------------------------------------------------------------------------

    def update(self, text: str, wanted: dict[str, Any]) -> None:
        """Resources and restart policy; nulls and zeros leave things as they are. Raises PyruncError."""
        id = self._containers.find(text).id
        with self._locks.holding(id):
            container = self._containers.find(id)
            changes = {key: wanted[key] for key in _UPDATABLE if wanted.get(key)}
            host = {**container.host, **changes}
            if changes.get("Memory", 0) > host["MemorySwap"] > 0 and "MemorySwap" not in changes:
                raise PyruncError(
                    CONFLICT,
                    "Memory limit should be smaller than already set memoryswap limit, "
                    "update the memoryswap at the same time",
                )
            require_resources(host)
            require_cpus(host, os.cpu_count() or 1)
            policy = wanted.get("RestartPolicy") or {}
            if policy.get("Name"):
                if container.removes_itself and policy["Name"] != "no":
                    raise PyruncError(
                        INVALID,
                        "Restart policy cannot be updated because AutoRemove is enabled for the container",
                    )
                host["RestartPolicy"] = {
                    "Name": policy["Name"],
                    "MaximumRetryCount": policy.get("MaximumRetryCount") or 0,
                }
                require_restart_policy(host["RestartPolicy"])
            if self._containers.state(container).is_running:
                arguments: dict[str, Any] = {"restart": make_restart(host["RestartPolicy"])}
                if changes:
                    arguments["resources"] = make_limits(with_numbers(host), is_cgroup2=self._is_cgroup2)
                self._call(container, "update", **arguments)
            changed = replaced(container, host=host)
            self._containers.update(changed)
            self._containers.publish(changed, "update")
