"""A conversation with a registry, kept as evidence. One request, one connection: tests share nothing."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

_SECONDS = 30
_SHOWN = 600
_MOST = 1 << 30  # bytes of one answer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError(f"the body is no JSON: {self.body[:_SHOWN]!r}") from None


class Registry:
    """`url` may have a user and a password in it, and a path that repositories are below."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._secure, self._address = parts.scheme == "https", parts.netloc.rpartition("@")[2]
        self.base = f"{parts.scheme}://{self._address}"
        self.prefix = parts.path.strip("/")
        self.commands: list[str] = []
        self._headers = {"User-Agent": "conformance"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def __call__(
        self, method: str, place: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """`place`: a path, or what a Location header said. Redirects of GET and HEAD are followed, without
        our credentials."""
        answer = self._ask(method, urljoin(self.base, place), body, {**self._headers, **(headers or {})})
        if answer.status in (301, 302, 303, 307, 308) and method in ("GET", "HEAD"):
            answer = self._ask(
                method, urljoin(self.base, answer.headers["location"]), None, dict(headers or {})
            )
        return answer

    def _ask(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=_SECONDS, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=_SECONDS)
        if parts.netloc != self._address:
            headers.pop("Authorization", None)
        try:
            connection.request(method, target, body=body, headers=headers)
            got = connection.getresponse()
            data = got.read(_MOST)
        except (OSError, http.client.HTTPException) as error:
            self.commands.append(f"{method} {target}\n{type(error).__name__}: {error}")
            raise AssertionError(f"{method} {url}: {error}") from None
        finally:
            connection.close()
        answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, data)
        self._keep(method, target, headers, body, answer)
        return answer

    def _keep(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, answer: Answer
    ) -> None:
        sent = [f"{name}: {value}" for name, value in headers.items() if name not in ("Authorization",)]
        lines = [f"{method} {target}", *sent]
        if body is not None:
            lines.append(f"({len(body)} bytes)")
        lines += [f"→ {answer.status}", *(f"{name}: {value}" for name, value in answer.headers.items())]
        lines.append(answer.body[:_SHOWN].decode(errors="replace"))
        self.commands.append("\n".join(lines))
