"""What became of a container: from the status that its shim keeps, and what the engine itself knows. Pure."""

from __future__ import annotations

from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.model import Container

NO_TIME = "0001-01-01T00:00:00Z"
CREATED, RUNNING, PAUSED, RESTARTING, REMOVING, EXITED = (
    "created", "running", "paused", "restarting", "removing", "exited",
)  # fmt: skip
STATUSES = (CREATED, RUNNING, PAUSED, RESTARTING, REMOVING, EXITED, "dead")
_OF_SHIM = {
    "creating": CREATED,
    "created": CREATED,
    "running": RUNNING,
    "paused": PAUSED,
    "restarting": RESTARTING,
    "stopped": EXITED,
}


class State(Record):
    """Times as RFC 3339. `health`: as the API has it; None where there is no check."""

    status: str = CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = NO_TIME
    finished_at: str = NO_TIME
    oom_killed: bool = False
    restart_count: int = 0
    health: dict[str, Any] | None = None

    @property
    def is_running(self) -> bool:
        """Docker's word: also while it is paused or about to be restarted."""
        return self.status in (RUNNING, PAUSED, RESTARTING)


def make_state(container: Container, status: dict[str, Any] | None) -> State:
    """`status`: of the shim; None if there has never been one."""
    if status is None:
        found = State(error=container.error, exit_code=container.error_code)
    else:
        word = _OF_SHIM[status["status"]]
        found = State(
            status=word,
            pid=status["pid"] if word in (RUNNING, PAUSED) else 0,
            exit_code=status.get("exit_code") or 0,
            error=container.error or status.get("error") or "",
            started_at=status.get("started_at") or NO_TIME,
            finished_at=status.get("finished_at") or NO_TIME,
            oom_killed=bool(status.get("oom_killed")),
            restart_count=status.get("restart_count") or 0,
            health=_make_health(status.get("health")),
        )
        if container.error:
            found = State(**{**found.__dict__, "exit_code": container.error_code})
    if container.is_removing:
        return State(**{**found.__dict__, "status": REMOVING})
    return found


def _make_health(health: dict[str, Any] | None) -> dict[str, Any] | None:
    if not health:
        return None
    return {
        "Status": health.get("status") or "starting",
        "FailingStreak": health.get("failing_streak") or 0,
        "Log": [
            {
                "Start": entry.get("start"),
                "End": entry.get("end"),
                "ExitCode": entry.get("exit_code"),
                "Output": entry.get("output") or "",
            }
            for entry in health.get("log") or ()
        ],
    }
