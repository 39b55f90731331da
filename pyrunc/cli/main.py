"""pyrunc's command line: find the command, import its module and no other, call it, leave.

Each import costs a call some microseconds and there is one call per step of a container's life, so what
isn't needed by a plain well-formed call (help, usage, suggestions, tracebacks) is reached by name only when
it is wanted. tests/architecture measures that.
"""

from __future__ import annotations

import posix
import sys

from pyrunc import __version__, log
from pyrunc.errors import INVALID, PyruncError, describe_errno, doing
from pyrunc.files import absolute, read_whole, write_all
from pyrunc.options import TEXT, Command, Flag, HelpWanted, Operand, UsageError
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

DEFAULT_ROOT = "/run/pyrunc"
SHIMS = "@shims"  # below the state root; no container can have that name

# In the order in which help lists them. Each is a module of pyrunc.cli.commands with COMMAND and main().
COMMANDS = (
    "run", "create", "start", "state", "kill", "delete", "exec", "list", "ps", "pause", "resume", "update",
    "events", "spec", "validate", "plan", "features", "checkpoint", "restore", "logs", "wait", "attach",
    "shim", "conformance", "completion", "help",
)  # fmt: skip
_ALIASES = {"h": "help"}
_UNKNOWN_COMMAND_CODE = 3
_INTERRUPTED_CODE, _BROKEN_PIPE_CODE = 128 + 2, 128 + 13

CGROUP_MANAGERS = ("cgroupfs", "systemd", "disabled")
PROGRAM = Command(
    name="pyrunc",
    summary="Run containers from OCI bundles, with runc's command line.",
    flags=(
        Flag(name="root", kind=TEXT, placeholder="DIR",
             summary=f"Where state is kept (default {DEFAULT_ROOT}, or $XDG_RUNTIME_DIR/pyrunc)."),
        Flag(name="log", kind=TEXT, placeholder="FILE",
             summary="Write log lines to FILE, journald:NAME or syslog:NAME, not to stderr."),
        Flag(name="log-format", kind=TEXT, default="text", choices=log.FORMATS, summary="Form of log lines."),
        Flag(name="log-level", kind=TEXT, default="warning", choices=log.LEVELS, summary="What is logged."),
        Flag(name="debug", summary="Log in detail."),
        Flag(name="systemd-cgroup", summary="Let systemd make cgroups: cgroupsPath is slice:prefix:name."),
        Flag(name="cgroup-manager", kind=TEXT, default="cgroupfs", choices=CGROUP_MANAGERS,
             summary="Who makes cgroups: we, systemd, or nobody."),
        Flag(name="rootless", kind=TEXT, default="auto", choices=("true", "false", "auto"),
             summary="Go on where cgroups may not be written."),
        Flag(name="criu", kind=TEXT, hidden=True, summary="Ignored, as runc does since 1.2."),
        Flag(name="version", short="v", summary="Show the version."),
    ),
    operands=(Operand(name="command", required=False), Operand(name="arguments", required=False, many=True)),
    stops_at_operand=True,
)  # fmt: skip


class Settings(Record):
    """What the global options say. `is_default_root`: nobody asked for this one by name, so it need not
    exist. `is_shim`: it is a container's shim that calls, and no other has to be asked."""

    state_root: str
    is_default_root: bool = True
    is_shim: bool = False
    cgroup_manager: str = "cgroupfs"
    rootless: str = "auto"


def entry() -> NoReturn:
    """Run the process's own command line and leave at once: tearing the interpreter down takes as long as
    a `kill`, and nothing here waits for it."""
    code = run(sys.argv[1:])
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError as error:
            log.error(f"write standard output: {describe_errno(error.errno or 0)}")
            code = code or 1
    posix._exit(code)


def run(words: list[str]) -> int:
    """The exit code of `pyrunc WORDS…`. What went wrong has been logged."""
    command = PROGRAM
    try:
        given = PROGRAM.parse(words)
        log.configure(given["log"], given["log-format"], given["debug"], given["log-level"])
        if given["version"]:
            emit(version_text())
            return 0
        if not given["command"]:
            load("pyrunc.cli.face").show_help()
            return 0
        module = find(given["command"])
        command = module.COMMAND
        code: int = module.main(_settings(given), command.parse(given["arguments"]))
        return code
    except HelpWanted:
        return _report_success_of_help(command)
    except UsageError as error:
        if error.is_unknown_command:
            log.error(str(error), _suggest(error.unknown, COMMANDS))
            return _UNKNOWN_COMMAND_CODE
        log.error(str(error), _show_usage(command, error.unknown))
        return 1
    except PyruncError as error:
        log.error(_failure(command, str(error)), error.hint)
        return command.failure_code
    except KeyboardInterrupt:
        return _INTERRUPTED_CODE
    except Exception as error:
        _report_bug(command, error)
        return command.failure_code


def emit(text: str) -> None:
    """Print. Bytes of a name that isn't UTF-8 come out as they came in; what never was bytes, as \\ud800 in a
    file that somebody has damaged, as JSON has it. If nobody reads any more, leave as quietly as SIGPIPE,
    which Python ignores, would have us."""
    try:
        data = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        data = text.encode(errors="backslashreplace")
    with doing("write standard output"):
        try:
            write_all(1, data)
        except BrokenPipeError:
            posix._exit(_BROKEN_PIPE_CODE)


def load(name: str) -> Any:
    """A module by its name. The package `importlib`, which would do the same, is 5 ms of imports."""
    return __import__(name, fromlist=("",))


def find(name: str) -> Any:
    """The module of a command."""
    name = _ALIASES.get(name, name)
    if name not in COMMANDS:
        raise UsageError(f"No help topic for '{name}'", unknown=name, is_unknown_command=True)
    return load(f"pyrunc.cli.commands.{name}")


def names(state_root: str, container: str, *, is_pattern: bool) -> list[str]:
    """The containers meant: the one, or every one in whose name the regular expression is found. Modules for
    the latter are dear."""
    if not is_pattern:
        return [container]
    expressions, store = load("re"), load("pyrunc.runtime.store")
    try:
        pattern = expressions.compile(container)
    except expressions.error as error:
        raise PyruncError(INVALID, "not a regular expression", container, str(error)) from None
    return [name for name in store.names(state_root) if pattern.search(name)]


def shims_of(settings: Settings, container_id: str) -> Any:
    """The module `cli.shims` for a container that has a shim, or had one; else None, for one system call."""
    if settings.is_shim or not posix.access(f"{settings.state_root}/{SHIMS}/{container_id}", posix.F_OK):
        return None
    return load("pyrunc.cli.shims")


def ask_shim(settings: Settings, container_id: str, verb: str, **arguments: Any) -> bool:
    """True: the container has a shim, and that has done it."""
    shims = shims_of(settings, container_id)
    return shims is not None and shims.ask(settings, container_id, verb, arguments)


def version_text() -> str:
    python = ".".join(str(part) for part in sys.version_info[:3])
    specification: str = load("pyrunc.oci.state").OCI_VERSION
    launcher = "static" if "_pyrunc" in sys.builtin_module_names else "none"
    return (
        f"pyrunc version {__version__}\ncommit: {_commit()}\nspec: {specification}\n"
        f"python: {python}\nlauncher: {launcher}\n"
    )


def _commit() -> str:
    """As `make install` wrote it down; a package has its version for a name."""
    try:
        return read_whole(f"{__file__.rpartition('/cli/')[0]}/COMMIT").decode().strip()
    except FileNotFoundError:
        return __version__


def _settings(given: dict[str, Any]) -> Settings:
    if given["rootless"] not in ("true", "false", "auto"):
        raise UsageError(f'invalid value "{given["rootless"]}" for flag -rootless: parse error')
    if given["cgroup-manager"] not in CGROUP_MANAGERS:
        known = ", ".join(CGROUP_MANAGERS)
        raise UsageError(f'unknown cgroup manager "{given["cgroup-manager"]}": it is one of {known}')
    state_root = absolute(given["root"]) if given["root"] else default_root()
    if state_root == "/":
        raise PyruncError(INVALID, "Option --root argument should not be set to /")
    return Settings(
        state_root=state_root,
        is_default_root=not given["root"],
        cgroup_manager="systemd" if given["systemd-cgroup"] else given["cgroup-manager"],
        rootless=given["rootless"],
    )


def default_root() -> str:
    """/run/pyrunc for the host's root; below $XDG_RUNTIME_DIR for a user, or for a user namespace's root,
    unless $USER says that we play root's part there.

    The sticky bit keeps those away who clean $XDG_RUNTIME_DIR of what is old.
    """
    runtime_dir = posix.environ.get(b"XDG_RUNTIME_DIR")
    if not runtime_dir or (posix.geteuid() == 0 and not _is_other_users_namespace()):
        return DEFAULT_ROOT
    state_root = absolute(runtime_dir.decode(errors="surrogateescape") + "/pyrunc")
    try:
        posix.mkdir(state_root, 0o700)
        posix.chmod(state_root, 0o1700)
    except FileExistsError:
        pass
    except OSError as error:
        hint = "$XDG_RUNTIME_DIR must be a directory that you may write to"
        raise PyruncError.from_errno(error.errno or 0, "make state root", state_root, hint) from error
    return state_root


def _is_other_users_namespace() -> bool:
    if posix.environ.get(b"USER") == b"root":
        return False
    return read_whole("/proc/self/uid_map").split() != [b"0", b"0", b"4294967295"]


def _failure(command: Command, text: str) -> str:
    return f"{command.failure}: {text}" if command.failure else text


def _report_success_of_help(command: Command) -> int:
    try:
        load("pyrunc.cli.face").show_help("" if command is PROGRAM else command.name)
    except PyruncError as error:
        log.error(str(error), error.hint)
        return 1
    return 0


def _show_usage(command: Command, unknown: str) -> str:
    """Print the command's help, as runc does; the result is a hint for the line about the error. Without
    click there is no help, and the hint says so."""
    try:
        load("pyrunc.cli.face").show_help("" if command is PROGRAM else command.name)
    except PyruncError as error:
        return str(error)
    return _suggest(unknown, tuple(f"--{flag.name}" for flag in command.flags)) if unknown else ""


def _suggest(unknown: str, known: tuple[str, ...]) -> str:
    try:
        suggestion: str = load("pyrunc.cli.face").suggest(unknown, known)
    except PyruncError as error:
        return str(error)
    return suggestion


def _report_bug(command: Command, error: Exception) -> None:
    """One line with the place; the way there only for --debug. The module `traceback` would say the same, but
    fetching something now could fail as well, or begin the call anew (launcher.c)."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    why = describe_errno(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    name = f" {error.filename!r}" if isinstance(error, OSError) and error.filename is not None else ""
    log.debug("\n  ".join(("Traceback (most recent call last):", *places)))
    log.error(
        _failure(command, f"internal error: {type(error).__name__}: {why}{name} at {places[-1]}"),
        hint="this is a bug in pyrunc; with --debug the log shows the way there",
    )
