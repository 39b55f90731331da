"""`pyr`: find the command, import its module and no other, call it, leave.

What a call imports is counted (tests/architecture/test_cold_start.py). Help and suggestions are
`face`'s, which is reached by name when they are wanted.
"""

from __future__ import annotations

import posix
import sys

from pyrunc import __version__, log
from pyrunc.api.status import HttpError
from pyrunc.docker.output import complain, emit
from pyrunc.docker.session import Session
from pyrunc.docker.words import PROGRAM, Misused, Verb
from pyrunc.errors import PyruncError
from pyrunc.options import TEXT, TEXTS, Flag, HelpWanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_INTERRUPTED_CODE = 128 + 2

# command -> its module in pyrunc.docker.commands, in the order of help
COMMANDS = {
    **dict.fromkeys(("run", "create"), "run"),
    "exec": "exec",
    "ps": "ps",
    **dict.fromkeys(("images", "history"), "images"),
    **dict.fromkeys(("pull", "push", "save", "load", "import"), "transfers"),
    "search": "search",
    **dict.fromkeys(("login", "logout"), "login"),
    **dict.fromkeys(("start", "attach"), "start"),
    **dict.fromkeys(
        ("stop", "restart", "kill", "pause", "unpause", "wait", "rename", "rm", "update"), "verbs"
    ),
    "logs": "logs",
    **dict.fromkeys(("cp", "export"), "files"),
    **dict.fromkeys(("top", "port", "diff"), "looks"),
    "stats": "stats",
    "inspect": "inspect",
    **dict.fromkeys(("commit", "tag", "rmi"), "names"),
    "events": "events",
    **dict.fromkeys(("info", "version"), "info"),
}

# what is managed -> its commands: by which of the above, or a module's command of the same two words
GROUPS: dict[str, dict[str, str]] = {
    "container": {
        **{
            name: name
            for name in (
                "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port",
                "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update",
                "wait",
            )
        },
        **dict.fromkeys(("ls", "list", "ps"), "ps"),
        "remove": "rm",
        "inspect": "inspect:container inspect",
        "prune": "prune:container prune",
    },
    "image": {
        **{name: name for name in ("history", "import", "load", "pull", "push", "save", "tag")},
        **dict.fromkeys(("ls", "list"), "images"),
        **dict.fromkeys(("rm", "remove"), "rmi"),
        "inspect": "inspect:image inspect",
        "prune": "prune:image prune",
    },
    "network": {
        **{name: f"network:network {name}" for name in ("create", "ls", "rm", "connect", "disconnect")},
        "list": "network:network ls",
        "remove": "network:network rm",
        "inspect": "inspect:network inspect",
        "prune": "prune:network prune",
    },
    "volume": {
        **{name: f"volume:volume {name}" for name in ("create", "ls", "rm")},
        "list": "volume:volume ls",
        "remove": "volume:volume rm",
        "inspect": "inspect:volume inspect",
        "prune": "prune:volume prune",
    },
    "system": {
        "df": "usage:system df",
        "prune": "prune:system prune",
        "events": "events",
        "info": "info",
    },
}  # fmt: skip

# What people type for what there is, and other pieces of Docker's that are not here: word -> what to say
MEANT = {
    "log": "did you mean `pyr logs`?",
    "start-all": "did you mean `pyr start $(pyr ps -aq)`?",
    "delete": "did you mean `pyr rm` (containers) or `pyr rmi` (images)?",
    "ls": "did you mean `pyr ps` (containers) or `pyr images`?",
    "list": "did you mean `pyr ps` (containers) or `pyr images`?",
    "remove": "did you mean `pyr rm`?",
    "purge": "did you mean `pyr image prune`?",
    "prune": "did you mean `pyr system prune`?",
    "df": "did you mean `pyr system df`?",
    "build": "building images is not supported by this version of pyrunc",
    "buildx": "building images is not supported by this version of pyrunc",
    "compose": "pyrunc has no compose; Docker's speaks with pyruncd by DOCKER_HOST",
    **dict.fromkeys(
        ("swarm", "node", "service", "stack", "secret", "config"),
        "Swarm mode is not supported by pyrunc: it runs containers of one host",
    ),
    "plugin": "plugins are not supported by pyrunc",
    "context": "there are no contexts: say where a daemon is by -H or DOCKER_HOST",
}

OPTIONS = Verb(
    name="",
    summary="Containers and images, by Docker's commands, with a daemon (pyruncd) or without one.",
    usage="[OPTIONS] COMMAND [ARG...]",
    flags=(
        Flag(name="host", short="H", kind=TEXTS, placeholder="ADDRESS",
             summary="The daemon: unix:///path or tcp://host:port (or DOCKER_HOST)."),
        Flag(name="config", kind=TEXT, placeholder="DIR",
             summary="Where config.json with credentials is (default ~/.docker, or DOCKER_CONFIG)."),
        Flag(name="debug", short="D", summary="Say more about what goes wrong."),
        Flag(name="log-level", short="l", kind=TEXT, default="warning", choices=log.LEVELS,
             summary="What an engine in this process logs."),
        Flag(name="tls", summary="Use TLS; it is always used with tcp."),
        Flag(name="tlsverify", summary="Use TLS and verify the daemon; it is always so with tcp."),
        Flag(name="tlscacert", kind=TEXT, placeholder="FILE", summary="Certificates that sign the daemon's."),
        Flag(name="tlscert", kind=TEXT, placeholder="FILE", summary="Our certificate."),
        Flag(name="tlskey", kind=TEXT, placeholder="FILE", summary="Its key."),
        Flag(name="data-root", kind=TEXT, placeholder="DIR",
             summary="Without a daemon: where images, containers and volumes are kept."),
        Flag(name="exec-root", kind=TEXT, placeholder="DIR",
             summary="Without a daemon: where state is that a reboot ends."),
        Flag(name="config-file", kind=TEXT, placeholder="FILE",
             summary="Without a daemon: the settings that pyruncd would read."),
        Flag(name="version", short="v", summary="Show the version."),
    ),
    most=-1,
    stops_at_operand=True,
)  # fmt: skip


def entry() -> NoReturn:
    """The program. It leaves at once: nothing waits for the interpreter to be torn down."""
    posix._exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """The exit code of `pyr WORDS…`. What went wrong has been told."""
    verb, name = OPTIONS, ""
    try:
        options = OPTIONS.parse(words)
        if options["log-level"] not in log.LEVELS:
            OPTIONS.refuse_value("log-level", options["log-level"], f"one of {', '.join(log.LEVELS)}")
        log.configure(debugging=options["debug"], level=options["log-level"])
        if options["version"]:
            emit(f"pyr version {__version__}\n")
            return 0
        if not options["words"] or options["words"][0] == "help":
            return _help(options["words"][1:])
        name, module, key, rest = find(options["words"])
        verb, function = load(f"pyrunc.docker.commands.{module}").COMMANDS[key]
        with Session(options) as session:
            code: int = function(session, verb.parse(rest))
            return code
    except HelpWanted:
        return _help(name.split())
    except Misused as error:
        return _report_misuse(error, verb, name)
    except PyruncError as error:
        return report(error, name)
    except KeyboardInterrupt:
        return _INTERRUPTED_CODE
    except Exception as error:
        return _report_bug(error)


def load(name: str) -> Any:
    """A module by its name. The package `importlib`, which would do the same, is 5 ms of imports."""
    return __import__(name, fromlist=("",))


def find(words: list[str]) -> tuple[str, str, str, list[str]]:
    """(name as typed, module, key of its COMMANDS, the words behind it). Raises Misused, or HelpWanted for a
    group alone."""
    name, *rest = words
    if name in COMMANDS:
        return name, COMMANDS[name], name, rest
    if name not in GROUPS:
        raise Misused(f"unknown command: {PROGRAM} {name}", 1, name, _meant(name, words))
    if not rest or rest[0] in ("--help", "-h"):
        raise HelpWanted
    what, *rest = rest
    target = GROUPS[name].get(what)
    if target is None:
        raise Misused(f"unknown command: {PROGRAM} {name} {what}", 1, what, _meant(what, words))
    module, colon, key = target.partition(":")
    if not colon:
        module, key = COMMANDS[target], target
    return f"{name} {what}", module, key, rest


def _meant(name: str, words: list[str]) -> str:
    if name in MEANT:
        return MEANT[name]
    known = tuple(GROUPS[words[0]]) if words[0] in GROUPS else (*COMMANDS, *GROUPS)
    return _face(lambda face: face.suggest(name, known))


def _face(ask: Any) -> str:
    """What the face answers; without click it answers nothing, which must not hide the error."""
    try:
        return str(ask(load("pyrunc.docker.face")))
    except PyruncError as error:
        return str(error)


def _help(words: list[str]) -> int:
    try:
        load("pyrunc.docker.face").show_help(words)
    except Misused as error:
        return _report_misuse(error, OPTIONS, "")
    except PyruncError as error:
        return report(error, "")
    return 0


def report(error: PyruncError, name: str) -> int:
    """Say what went wrong; the exit code. What the daemon (or the engine in its place) answered is told from
    what we ourselves met."""
    text = f"Error response from daemon: {error}" if isinstance(error, HttpError) else str(error)
    is_run = name in ("run", "container run")
    if is_run or not isinstance(error, HttpError):
        text = f"{PROGRAM}: {text}"
    complain(text)
    if error.hint:
        complain(f"hint: {error.hint}")
    if is_run:
        complain(f"\nRun '{PROGRAM} run --help' for more information")
    return 125 if is_run else 1


def _report_misuse(error: Misused, verb: Verb, name: str) -> int:
    typed = f"{PROGRAM} {name}".rstrip()
    complain(str(error) if error.code != 1 else f"{PROGRAM}: {error}")
    hint = error.hint or _hint(error, verb)
    if hint:
        complain(f"hint: {hint}")
    verb_of_help = "See" if "' requires " in str(error) else "Run"
    complain(f"\nUsage:  {typed} {verb.usage}\n\n{verb_of_help} '{typed} --help' for more information")
    return error.code


def _report_bug(error: Exception) -> int:
    """One line with the place. The way there only for --debug."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    if log.is_debugging():
        complain("\n  ".join(("Traceback (most recent call last):", *places)))
    complain(f"{PROGRAM}: internal error: {type(error).__name__}: {error} at {places[-1]}")
    complain("hint: this is a bug in pyrunc; --debug shows the way there")
    return 1


def _hint(error: Misused, verb: Verb) -> str:
    """Of an option that is none: one with two dashes (`-rm`), or the command's, before the command
    (`pyr -d run`)."""
    if not error.unknown:
        return ""
    long = error.unknown.lstrip("-").partition("=")[0]
    known = [flag.name for flag in verb.flags]
    if long in known:
        return f"did you mean --{long}?"
    if verb is OPTIONS:
        return f"options of a command come after it: {PROGRAM} COMMAND {error.unknown}"
    return _face(lambda face: face.suggest(error.unknown, tuple(f"--{name}" for name in known)))
