"""shim.json: what whoever starts a shim wants of it. Parsed once, by the shim."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import absolute, read_whole
from pyrunc.oci.node import Node
from pyrunc.record import Record

JSON_FILE, LOCAL, NONE = "json-file", "local", "none"
NO, ALWAYS, ON_FAILURE, UNLESS_STOPPED = "no", "always", "on-failure", "unless-stopped"
_NANOSECONDS = 1_000_000_000
# What Docker takes where nothing is said
_LOG_DEFAULTS = {JSON_FILE: (0, 1), LOCAL: (20 << 20, 5), NONE: (0, 1)}
_INTERVAL_NS, _TIMEOUT_NS, _RETRIES = 30 * _NANOSECONDS, 30 * _NANOSECONDS, 3
_START_INTERVAL_NS = 5 * _NANOSECONDS


class LogSettings(Record):
    """`max_size_bytes` 0: no limit, and one file. `max_files` counts the one that is written."""

    driver: str
    path: str
    max_size_bytes: int = 0
    max_files: int = 1


class RestartPolicy(Record):
    """`maximum_retries` 0: as often as it takes. For on-failure alone."""

    name: str = NO
    maximum_retries: int = 0


class HealthCheck(Record):
    """`args`: the command. Times in nanoseconds, as Docker has them; `on_failure`: what happens to the
    container when it turns unhealthy: none, kill, restart or stop."""

    args: tuple[str, ...]
    interval_ns: int = _INTERVAL_NS
    timeout_ns: int = _TIMEOUT_NS
    start_period_ns: int = 0
    start_interval_ns: int = _START_INTERVAL_NS
    retries: int = _RETRIES
    on_failure: str = "none"


class Settings(Record):
    """`runtime`: the program of another runtime, or nothing for ours. `starts`: start the container as soon
    as it is created. `create_options`: more words for the runtime's create."""

    id: str
    bundle: str
    state_root: str
    log: LogSettings
    runtime: str = ""
    cgroup_manager: str = "cgroupfs"
    rootless: str = "auto"
    create_options: tuple[str, ...] = ()
    terminal: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    init: bool = False
    starts: bool = True
    restart: RestartPolicy = RestartPolicy()
    health: HealthCheck | None = None
    stop_signal: str = "TERM"
    stop_timeout_seconds: int = 10
    exit_command: tuple[str, ...] = ()


def load(path: str) -> Settings:
    """Raises PyruncError INVALID, with the pointer of what is wrong."""
    with doing("read the shim's settings", path):
        document = jsonio.loads(read_whole(path), path)
    try:
        return parse(document)
    except PyruncError as error:
        raise PyruncError(INVALID, f"{path} is not valid", error.where, error.why) from None


def parse(document: object) -> Settings:
    node = Node(document)
    _require_choice(node, "cgroup_manager", ("", "cgroupfs", "systemd", "disabled"))
    _require_choice(node, "rootless", ("", "true", "false", "auto"))
    health = node.child("health")
    restart = node.child("restart")
    return Settings(
        id=node.need_text("id"),
        bundle=absolute(node.need_text("bundle")),
        state_root=absolute(node.need_text("state_root")),
        log=_parse_log(node.child("log") or Node({"driver": NONE}, "/log")),
        runtime=node.text("runtime"),
        cgroup_manager=node.text("cgroup_manager") or "cgroupfs",
        rootless=node.text("rootless") or "auto",
        create_options=node.texts("create_options"),
        terminal=node.flag("terminal"),
        open_stdin=node.flag("open_stdin"),
        stdin_once=node.flag("stdin_once"),
        init=node.flag("init"),
        starts=node.maybe_flag("start") is not False,
        restart=parse_restart(restart) if restart is not None else RestartPolicy(),
        health=_parse_health(health) if health is not None else None,
        stop_signal=node.text("stop_signal") or "TERM",
        stop_timeout_seconds=node.number("stop_timeout", 10),
        exit_command=node.texts("exit_command"),
    )


def _require_choice(node: Node, name: str, choices: tuple[str, ...]) -> None:
    if node.text(name) not in choices:
        raise node.wrong(name, f"is none of {', '.join(word for word in choices if word)}")


def _parse_log(node: Node) -> LogSettings:
    _require_choice(node, "driver", (JSON_FILE, LOCAL, NONE))
    driver = node.text("driver") or NONE
    size, files = _LOG_DEFAULTS[driver]
    size, files = node.number("max_size", size), node.number("max_file", files)
    if size < 0 or files < 1:
        raise node.wrong("max_size" if size < 0 else "max_file", "is too small")
    path = absolute(node.need_text("path")) if driver != NONE else ""
    return LogSettings(driver=driver, path=path, max_size_bytes=size, max_files=files)


def parse_restart(node: Node) -> RestartPolicy:
    _require_choice(node, "name", ("", NO, ALWAYS, ON_FAILURE, UNLESS_STOPPED))
    retries = node.number("maximum_retry_count")
    if retries < 0:
        raise node.wrong("maximum_retry_count", "is negative")
    return RestartPolicy(name=node.text("name") or NO, maximum_retries=retries)


def _parse_health(node: Node) -> HealthCheck | None:
    """Docker's forms of a test: ["CMD", word, …], ["CMD-SHELL", line], ["NONE"]. A zero is a default."""
    test = node.texts("test")
    if not test or test == ("NONE",):
        return None
    if test[0] not in ("CMD", "CMD-SHELL") or len(test) < 2:
        raise node.wrong("test", "is neither CMD with words nor CMD-SHELL with a line")
    _require_choice(node, "on_failure", ("", "none", "kill", "restart", "stop"))
    for name in ("interval_ns", "timeout_ns", "start_period_ns", "start_interval_ns", "retries"):
        if node.number(name) < 0:
            raise node.wrong(name, "is negative")
    return HealthCheck(
        args=test[1:] if test[0] == "CMD" else ("/bin/sh", "-c", test[1]),
        interval_ns=node.number("interval_ns") or _INTERVAL_NS,
        timeout_ns=node.number("timeout_ns") or _TIMEOUT_NS,
        start_period_ns=node.number("start_period_ns"),
        start_interval_ns=node.number("start_interval_ns") or _START_INTERVAL_NS,
        retries=node.number("retries") or _RETRIES,
        on_failure=node.text("on_failure") or "none",
    )
