"""Health checks with Docker's meaning: a command in the container now and then, and what becomes of it.

`judge` is pure: a health and a result make the next health. `Monitor` runs the command: one at a time, the
next an interval after the last has ended; one that takes too long is killed, and counts as failed. In the
start period failures don't count, and it is asked at the start interval, until it is healthy once.
"""

from __future__ import annotations

from time import monotonic, time_ns

from pyrunc.errors import PyruncError
from pyrunc.oci.state import format_time
from pyrunc.record import Record, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.shim.execution import Execution
    from pyrunc.shim.loop import Loop, Timer
    from pyrunc.shim.settings import HealthCheck

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_KEPT_RESULTS = 5
OUTPUT_BYTES = 4096  # of a check's output; Docker keeps as much
_FAILED_TO_RUN = -1


class Result(Record):
    """Of one check. `exit_code` -1: it took too long, or could not be run."""

    start: str
    end: str
    exit_code: int
    output: str


class Health(Record):
    """What status.json tells; `log` has the last results, the oldest first."""

    status: str = STARTING
    failing_streak: int = 0
    log: tuple[Result, ...] = ()

    def document(self) -> dict[str, Any]:
        return {**self.__dict__, "log": [dict(result.__dict__) for result in self.log]}


def judge(health: Health, result: Result, *, retries: int, in_start_period: bool) -> Health:
    log = (*health.log, result)[-_KEPT_RESULTS:]
    if result.exit_code == 0:
        return Health(status=HEALTHY, failing_streak=0, log=log)
    if health.status == STARTING and in_start_period:
        return replaced(health, log=log)
    streak = health.failing_streak + 1
    status = UNHEALTHY if streak >= retries else health.status
    return Health(status=status, failing_streak=streak, log=log)


class Monitor:
    """`run(args, ended)` begins an execution whose output is kept, or None where there can't be one now: the
    container is paused, and that check is left out; `changed(was, now)` is told after each check."""

    def __init__(
        self,
        loop: Loop,
        check: HealthCheck,
        run: Callable[
            [tuple[str, ...], Callable[[PyruncError | None, int, bytes], object]], Execution | None
        ],
        changed: Callable[[Health, Health], object],
    ) -> None:
        self.health = Health()
        self._loop, self._check, self._run, self._changed = loop, check, run, changed
        self._began = monotonic()
        self._timer: Timer | None = None
        self._execution: Execution | None = None
        self._timed_out = False
        self._start = 0
        self._set_next()

    def stop(self) -> None:
        """The container has ended: no more checks, and the one that runs is of no interest."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._execution = None

    def _is_in_start_period(self) -> bool:
        return (monotonic() - self._began) * 1e9 < self._check.start_period_ns

    def _set_next(self) -> None:
        check = self._check
        is_starting = self.health.status == STARTING and self._is_in_start_period()
        interval = check.start_interval_ns if is_starting else check.interval_ns
        self._timer = self._loop.after(interval / 1e9, self._begin)

    def _begin(self) -> None:
        self._start, self._timed_out = time_ns(), False
        execution: Execution | None = None

        def ended(error: PyruncError | None, code: int, output: bytes) -> None:
            if self._execution is execution:
                self._take(error, code, output)

        execution = self._execution = self._run(self._check.args, ended)
        if execution is None:
            self._set_next()
            return
        self._timer = self._loop.after(self._check.timeout_ns / 1e9, self._give_up)

    def _give_up(self) -> None:
        self._timed_out = True
        if self._execution is not None:
            self._execution.kill(9)

    def _take(self, error: PyruncError | None, code: int, output: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._execution = None
        text = output[:OUTPUT_BYTES].decode(errors="replace")
        if self._timed_out:
            code = _FAILED_TO_RUN
            text = f"Health check exceeded timeout ({self._check.timeout_ns / 1e9:g}s)" + (
                f": {text}" if text else ""
            )
        elif error is not None:
            code, text = _FAILED_TO_RUN, str(error)
        result = Result(
            start=format_time(self._start), end=format_time(time_ns()), exit_code=code, output=text
        )
        was = self.health
        self.health = judge(
            was, result, retries=self._check.retries, in_start_period=self._is_in_start_period()
        )
        self._set_next()
        self._changed(was, self.health)
