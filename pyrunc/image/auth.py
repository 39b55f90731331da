"""Who we are to a registry: credentials from docker's config.json and its helpers, challenges, tokens.

A registry answers 401 with a challenge: Basic, or Bearer with the address of a token server. A token is asked
for with a scope, and kept for the scope until it expires (distribution's token specification; OAuth2 for
refresh tokens). A password never goes out by plain http, unless the registry itself may be spoken to so.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse

from pyrunc.errors import DENIED, INVALID, NOT_FOUND, PyruncError
from pyrunc.files import read_whole
from pyrunc.image.http import Client, read_error, require_not_busy, retried
from pyrunc.image.options import Credentials
from pyrunc.oci.reference import DEFAULT_REGISTRY
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HUB_KEY = "https://index.docker.io/v1/"  # docker.io's name in config.json
_MAXIMUM_TOKEN = 1 << 20
_DEFAULT_LIFE = 60
_EARLY_SECONDS = 5  # a token that is about to expire is not used
_HELPER_SECONDS = 60
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PARAMETER = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')


class Challenge(Record):
    """`scheme` in lower case: basic or bearer."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenge(header: str) -> Challenge | None:
    """A WWW-Authenticate header (RFC 9110 11.6.1); None for a scheme that we don't speak."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() not in ("basic", "bearer"):
        return None
    found: dict[str, str] = {}
    at = 0
    while match := _PARAMETER.match(rest, at):
        found[match[1].lower()] = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        at = match.end()
    names = ("realm", "service", "scope")
    return Challenge(scheme=scheme.lower(), **{name: found.get(name, "") for name in names})


def find_credentials(registry: str, config_file: str = "") -> Credentials | None:
    """What docker's config.json says for `registry`; None if nothing. Raises INVALID for a file that is no
    config.json, and what a helper complains of."""
    path = config_file or _default_file()
    try:
        value = json.loads(read_whole(path))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise PyruncError(INVALID, "invalid docker configuration", path, str(error)) from error
    if not isinstance(value, dict):
        raise PyruncError(INVALID, "invalid docker configuration", path, "is not an object")
    keys = _keys(registry)
    helpers = value.get("credHelpers") or {}
    for key in keys:
        if isinstance(helpers, dict) and helpers.get(key):
            return _ask_helper(str(helpers[key]), key)
    if value.get("credsStore"):
        for key in keys:
            found = _ask_helper(str(value["credsStore"]), key)
            if found:
                return found
    auths = value.get("auths") or {}
    for key in keys:
        if isinstance(auths, dict) and isinstance(auths.get(key), dict):
            return _from_auth(auths[key], path)
    return None


def _default_file() -> str:
    directory = os.environ.get("DOCKER_CONFIG") or f"{os.path.expanduser('~')}/.docker"
    return f"{directory}/config.json"


def _keys(registry: str) -> tuple[str, ...]:
    if registry == DEFAULT_REGISTRY:
        return (_HUB_KEY, DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io")
    return (
        registry,
        f"https://{registry}",
        f"http://{registry}",
        f"https://{registry}/v1/",
        f"https://{registry}/",
    )


def _from_auth(entry: dict[str, Any], path: str) -> Credentials | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise PyruncError(INVALID, "invalid docker configuration", path, f"auth: {error}") from error
        username, _, password = text.partition(":")
        password = password.rstrip("\0")
    found = Credentials(
        username=username,
        password=password,
        identity_token=str(entry.get("identitytoken") or ""),
        registry_token=str(entry.get("registrytoken") or ""),
    )
    return found if found != Credentials() else None


def _ask_helper(name: str, server: str) -> Credentials | None:
    """docker-credential-NAME get: the server on stdin, JSON on stdout."""
    if not _HELPER_NAME.fullmatch(name):
        raise PyruncError(INVALID, "invalid credential helper", name[:100])
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except FileNotFoundError:
        raise PyruncError(NOT_FOUND, "credential helper is not installed", program) from None
    except subprocess.TimeoutExpired:
        raise PyruncError(DENIED, "credential helper does not answer", program) from None
    if done.returncode:
        text = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        if "credentials not found" in text:
            return None
        raise PyruncError(DENIED, "credential helper failed", program, text[:300])
    try:
        value = json.loads(done.stdout)
        username, secret = str(value["Username"]), str(value["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise PyruncError(INVALID, "credential helper's answer is not understood", program) from error
    if username == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(username=username, password=secret) if username else None


class Authorizer:
    """Authorization headers for one registry, shared by threads."""

    def __init__(self, client: Client, credentials: Credentials | None, *, allow_http: bool) -> None:
        self._client, self._credentials, self._allow_http = client, credentials, allow_http
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def learn(self, header: str) -> bool:
        """What a 401 asks for; False for nothing that we could answer."""
        challenge = parse_challenge(header)
        if challenge is not None:
            self._challenge = challenge
        return challenge is not None

    def header(self, scopes: tuple[str, ...], *, fresh: bool = False) -> dict[str, str]:
        """To be sent with a request; nothing before a challenge. `fresh`: the token that we had was refused.
        Raises DENIED."""
        known = self._credentials
        if known and known.registry_token:
            return {"Authorization": f"Bearer {known.registry_token}"}
        if self._challenge is None:
            return {}
        if self._challenge.scheme == "basic":
            if known is None or not known.username:
                return {}
            return {"Authorization": _basic(known)}
        with self._lock:
            token, expires = self._tokens.get(scopes, ("", 0.0))
            if fresh or time.monotonic() >= expires:
                token, life = self._ask(self._challenge, scopes)
                self._tokens[scopes] = token, time.monotonic() + life - _EARLY_SECONDS
            return {"Authorization": f"Bearer {token}"}

    def _ask(self, challenge: Challenge, scopes: tuple[str, ...]) -> tuple[str, float]:
        parts = urllib.parse.urlsplit(challenge.realm)
        known = self._credentials
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise PyruncError(INVALID, "invalid token server", challenge.realm[:200])
        if parts.scheme == "http" and known and not self._allow_http:
            raise PyruncError(DENIED, "credentials are not sent by plain http", challenge.realm[:200])
        fields = [("service", challenge.service), *(("scope", scope) for scope in scopes)]
        if known and known.identity_token:
            form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", known.identity_token),
                ("client_id", "pyrunc"),
                ("service", challenge.service),
                ("scope", " ".join(scopes)),
            ]
            body = urllib.parse.urlencode(form).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._exchange("POST", challenge.realm, headers, body)
        headers = {"Authorization": _basic(known)} if known and known.username else {}
        if headers and known:
            fields.append(("account", known.username))
        joined = "&" if parts.query else "?"
        return self._exchange(
            "GET", f"{challenge.realm}{joined}{urllib.parse.urlencode(fields)}", headers, None
        )

    def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[str, float]:
        where = url.partition("?")[0]

        def ask() -> tuple[str, float]:
            with require_not_busy(self._client.request(method, url, headers, body)) as response:
                if response.status != 200:
                    raise PyruncError(DENIED, "authorization failed", where, read_error(response))
                data = response.read(_MAXIMUM_TOKEN)
            try:
                value = json.loads(data)
                token = value.get("token") or value.get("access_token")
                life = float(value.get("expires_in") or _DEFAULT_LIFE)
            except (ValueError, AttributeError, TypeError) as error:
                raise PyruncError(INVALID, "token server's answer is not understood", where) from error
            if not isinstance(token, str) or not token.isprintable() or not token.isascii():
                raise PyruncError(INVALID, "token server's answer has no token", where)
            return token, max(life, float(_DEFAULT_LIFE))

        return retried("ask token server", where, ask)


def _basic(known: Credentials) -> str:
    pair = f"{known.username}:{known.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
