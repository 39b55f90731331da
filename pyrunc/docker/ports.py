"""`-p` and `--expose`. Pure.

8080:80  80  127.0.0.1:80:5000  127.0.0.1::80  [::1]:80:80/udp  8000-9000:5000  7000-7010:8000-8010
target=80,published=8080,protocol=tcp
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROTOCOLS = ("tcp", "udp", "sctp")


def parse_published(words: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    """HostConfig.PortBindings. Raises PyruncError INVALID."""
    made: dict[str, list[dict[str, str]]] = {}
    for word in words:
        for key, binding in _parse(_from_long(word) if "=" in word else word):
            made.setdefault(key, []).append(binding)
    return made


def parse_exposed(words: tuple[str, ...]) -> dict[str, Any]:
    """Config.ExposedPorts. Raises PyruncError INVALID."""
    made: dict[str, Any] = {}
    for word in words:
        text, protocol = _take_protocol(word, word)
        if ":" in text:
            raise PyruncError(INVALID, f"invalid port format for --expose: {word}")
        first, last = _range(text, word)
        made.update({f"{port}/{protocol}": {} for port in range(first, last + 1)})
    return made


def _from_long(word: str) -> str:
    given = dict(part.partition("=")[::2] for part in word.split(","))
    unknown = set(given) - {"target", "published", "protocol", "mode"}
    if unknown:
        raise PyruncError(INVALID, f"invalid field key {min(unknown)}", "", f"in {word}")
    if not given.get("target"):
        raise PyruncError(INVALID, "invalid port publish", word, "target is missing")
    protocol = given.get("protocol") or "tcp"
    return f"{given.get('published', '')}:{given['target']}/{protocol}"


def _take_protocol(text: str, word: str) -> tuple[str, str]:
    text, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise PyruncError(INVALID, f"invalid proto: {protocol}", "", f"in {word}")
    return text, protocol


def _parse(word: str) -> list[tuple[str, dict[str, str]]]:
    text, protocol = _take_protocol(word, word)
    rest, _, container = text.rpartition(":")
    address, _, host = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    address = address.removeprefix("[").removesuffix("]")
    if not container:
        raise PyruncError(INVALID, f"no port specified: {word}<empty>")
    if not host and ":" not in text[len(rest) + 1 :] and rest and "." in rest and not address:
        raise PyruncError(INVALID, f"invalid hostPort: {rest}", "", f"in {word}")
    first, last = _range(container, word)
    count = last - first + 1
    if not host:
        bindings = [""] * count
    else:
        low, high = _range(host, word, "hostPort")
        if count == 1 and high > low:
            bindings = [f"{low}-{high}"]  # one of them, whichever is free
        elif high - low != last - first:
            raise PyruncError(
                INVALID, f"invalid ranges specified for container and host Ports: {container} and {host}"
            )
        else:
            bindings = [str(port) for port in range(low, high + 1)]
    return [
        (f"{first + step}/{protocol}", {"HostIp": address, "HostPort": binding})
        for step, binding in enumerate(bindings)
    ]


def _range(text: str, word: str, what: str = "containerPort") -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first, first]
    if not all(one.isascii() and one.isdigit() and int(one) < 1 << 16 for one in numbers):
        raise PyruncError(INVALID, f"invalid {what}: {text}", "", f"in {word}")
    if int(numbers[0]) > int(numbers[1]):
        raise PyruncError(INVALID, f"invalid range: {text}", "", f"in {word}")
    return int(numbers[0]), int(numbers[1])
