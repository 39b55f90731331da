"""Settings of an image config changed by Dockerfile lines, as `commit --change` and `import --change` take
them. Pure."""

from __future__ import annotations

import json
import re
import shlex

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Settings = dict[str, Any]

_PORT = re.compile(r"\d{1,5}(?:-\d{1,5})?(?:/(?:tcp|udp|sctp))?", re.IGNORECASE)
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SHELL = ("/bin/sh", "-c")


def apply_changes(settings: Settings, lines: tuple[str, ...]) -> Settings:
    """A copy of `settings` after these lines. Raises INVALID with docker's words for one that may not be
    used."""
    changed = dict(settings)
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if not word:
            continue
        apply = _INSTRUCTIONS.get(word.upper())
        if apply is None:
            raise PyruncError(INVALID, f"{word} is not a valid change command", line[:200])
        apply(changed, rest.strip(), line)
    return changed


def _wrong(line: str, why: str) -> PyruncError:
    return PyruncError(INVALID, "invalid change", line[:200], why)


def _listed(text: str) -> list[str] | None:
    """The JSON form; None for the shell form."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _command(key: str) -> Callable[[Settings, str, str], None]:
    def apply(settings: Settings, text: str, line: str) -> None:
        listed = _listed(text)
        settings[key] = [*(settings.get("Shell") or _SHELL), text] if listed is None else listed
        if key == "Entrypoint" and not text:
            settings[key] = None

    return apply


def _words(text: str, line: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _wrong(line, str(error)) from None


def _pairs(text: str, line: str) -> list[tuple[str, str]]:
    """KEY=VALUE …, or the old form KEY VALUE."""
    words = _words(text, line)
    if words and "=" not in words[0]:
        key, _, value = text.partition(" ")
        if not value:
            raise _wrong(line, "a name and a value are expected")
        return [(key, value.strip())]
    if not words or any("=" not in word or word.startswith("=") for word in words):
        raise _wrong(line, "KEY=VALUE is expected")
    return [(word.partition("=")[0], word.partition("=")[2]) for word in words]


def _env(settings: Settings, text: str, line: str) -> None:
    found = dict(item.partition("=")[::2] for item in settings.get("Env") or [])
    found.update(_pairs(text, line))
    settings["Env"] = [f"{key}={value}" for key, value in found.items()]


def _label(settings: Settings, text: str, line: str) -> None:
    settings["Labels"] = {**(settings.get("Labels") or {}), **dict(_pairs(text, line))}


def _expose(settings: Settings, text: str, line: str) -> None:
    ports = dict(settings.get("ExposedPorts") or {})
    for word in text.split():
        if not _PORT.fullmatch(word):
            raise _wrong(line, f"{word[:50]} is no port")
        ports[word.lower() if "/" in word else f"{word}/tcp"] = {}
    settings["ExposedPorts"] = ports


def _volume(settings: Settings, text: str, line: str) -> None:
    paths = _listed(text)
    found = dict(settings.get("Volumes") or {})
    found.update({path: {} for path in (_words(text, line) if paths is None else paths)})
    settings["Volumes"] = found


def _workdir(settings: Settings, text: str, line: str) -> None:
    if not text:
        raise _wrong(line, "a directory is expected")
    before = settings.get("WorkingDir") or "/"
    settings["WorkingDir"] = text if text.startswith("/") else f"{before.rstrip('/')}/{text}"


def _plain(key: str) -> Callable[[Settings, str, str], None]:
    def apply(settings: Settings, text: str, line: str) -> None:
        if not text:
            raise _wrong(line, "a value is expected")
        settings[key] = text

    return apply


def _onbuild(settings: Settings, text: str, line: str) -> None:
    if not text or text.split()[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        raise _wrong(line, "an instruction is expected")
    settings["OnBuild"] = [*(settings.get("OnBuild") or []), text]


def _healthcheck(settings: Settings, text: str, line: str) -> None:
    found: dict[str, Any] = {}
    names = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    names["start-interval"] = "StartInterval"
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        key, _, value = option[2:].partition("=")
        if key == "retries" and value.isdigit():
            found["Retries"] = int(value)
        elif key in names:
            found[names[key]] = _duration(value, line)
        else:
            raise _wrong(line, f"{option[:50]} is not known")
        text = text.strip()
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    if word.upper() == "NONE":
        settings["Healthcheck"] = {"Test": ["NONE"]}
    elif word.upper() == "CMD" and rest:
        listed = _listed(rest)
        settings["Healthcheck"] = {
            "Test": ["CMD-SHELL", rest] if listed is None else ["CMD", *listed],
            **found,
        }
    else:
        raise _wrong(line, "CMD or NONE is expected")


def _duration(text: str, line: str) -> int:
    """Go's form: 1m30s."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise _wrong(line, f"{text[:50]} is no duration")
    return int(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))


_INSTRUCTIONS: dict[str, Callable[[Settings, str, str], None]] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _plain("StopSignal"),
    "USER": _plain("User"),
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
