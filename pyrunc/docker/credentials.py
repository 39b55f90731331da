"""~/.docker/config.json: who we are to registries. Docker's file, shared with it: what it has that we do not
know stays as it is. Helpers (`credsStore`, `credHelpers`) are programs docker-credential-NAME.
"""

from __future__ import annotations

import base64
import os
import subprocess

from pyrunc import jsonio
from pyrunc.errors import INTERNAL, INVALID, PyruncError, doing
from pyrunc.files import read_whole, write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DOCKER_HUB = "https://index.docker.io/v1/"
_HELPER_SECONDS = 60
_NOT_FOUND = "credentials not found in native keychain"


def registry_of(reference: str) -> str:
    """The key of the registry that `reference` is of: the first part, if it looks like a host."""
    first, slash, _ = reference.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return DOCKER_HUB
    return DOCKER_HUB if first in ("docker.io", "index.docker.io") else first


def load_configuration(directory: str) -> dict[str, Any]:
    """Raises PyruncError for a file that is none of this kind."""
    path = f"{directory}/config.json"
    try:
        data = read_whole(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    document = jsonio.loads(data, path)
    if type(document) is not dict:
        raise PyruncError(INVALID, "not a configuration of Docker's", path)
    return document


def save_configuration(directory: str, document: dict[str, Any]) -> None:
    with doing("write credentials", directory):
        os.makedirs(directory, 0o700, exist_ok=True)
        write_atomically(f"{directory}/config.json", (jsonio.dumps(document, 2) + "\n").encode(), 0o600)


def auth_header(directory: str, reference: str) -> dict[str, str]:
    """X-Registry-Auth for a request about `reference`; none where there are no credentials."""
    found = find(load_configuration(directory), registry_of(reference))
    if not found:
        return {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(jsonio.dumps(found).encode()).decode()}


def find(document: dict[str, Any], registry: str) -> dict[str, str]:
    """As AuthConfig, empty if there are none. Raises PyruncError for a helper that fails."""
    helper = (document.get("credHelpers") or {}).get(registry) or document.get("credsStore")
    if helper:
        answer = ask_helper(helper, "get", registry)
        if not answer:
            return {}
        found = jsonio.loads(answer, helper)
        if found.get("Username") == "<token>":
            return {"identitytoken": found["Secret"], "serveraddress": registry}
        return {"username": found["Username"], "password": found["Secret"], "serveraddress": registry}
    entry = next(
        (
            one
            for name, one in (document.get("auths") or {}).items()
            if name == registry or name.partition("://")[2].rstrip("/") == registry
        ),
        None,
    )
    if not entry or type(entry) is not dict:
        return {}
    made = {"serveraddress": registry}
    if entry.get("auth"):
        name, colon, password = base64.b64decode(entry["auth"]).decode(errors="replace").partition(":")
        if not colon:
            raise PyruncError(INVALID, "bad credentials in config.json", registry)
        made.update(username=name, password=password.strip("\x00"))
    if entry.get("identitytoken"):
        made["identitytoken"] = entry["identitytoken"]
    return made if len(made) > 1 else {}


def ask_helper(helper: str, verb: str, given: str) -> bytes:
    """Its answer; nothing where it knows no credentials. Raises PyruncError."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=given.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PyruncError(INTERNAL, "credential helper failed", program, str(error)) from error
    text = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode and _NOT_FOUND not in text:
        raise PyruncError(INTERNAL, "credential helper failed", program, text)
    return b"" if done.returncode else done.stdout
