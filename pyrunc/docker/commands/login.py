"""pyr login, logout: credentials for registries, kept where Docker keeps them."""

from __future__ import annotations

import base64
import getpass
import sys

from pyrunc import jsonio
from pyrunc.docker.credentials import DOCKER_HUB, ask_helper, load_configuration, save_configuration
from pyrunc.docker.output import complain, emit, is_terminal, line
from pyrunc.docker.words import Verb
from pyrunc.errors import INVALID, PyruncError
from pyrunc.options import TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

LOGIN = Verb(
    name="login",
    summary="Have credentials for a registry checked, and keep them.",
    usage="[OPTIONS] [SERVER]",
    most=1,
    flags=(
        Flag(name="password", short="p", kind=TEXT, summary="The password; others may see it here."),
        Flag(name="password-stdin", summary="Read the password from stdin."),
        Flag(name="username", short="u", kind=TEXT, summary="The user's name."),
    ),
)
LOGOUT = Verb(name="logout", summary="Forget the credentials for a registry.", usage="[SERVER]", most=1)


def _registry(given: Given) -> str:
    text = given["words"][0] if given["words"] else "docker.io"
    host = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host in ("docker.io", "index.docker.io", "registry-1.docker.io") else host


def login(session: Session, given: Given) -> int:
    registry = _registry(given)
    name, password = _ask(given)
    wanted = {"username": name, "password": password, "serveraddress": registry}
    answer = session.post("/auth", body=wanted)
    token = (answer or {}).get("IdentityToken") or ""
    directory = session.configuration
    document = load_configuration(directory)
    helper = (document.get("credHelpers") or {}).get(registry) or document.get("credsStore")
    auths = document.setdefault("auths", {})
    if helper:
        secret = {
            "ServerURL": registry,
            "Username": "<token>" if token else name,
            "Secret": token or password,
        }
        ask_helper(helper, "store", jsonio.dumps(secret))
        auths[registry] = {}
    else:
        complain(
            f"WARNING! Your credentials are stored unencrypted in '{directory}/config.json'.\n"
            "Configure a credential helper to remove this warning."
        )
        auths[registry] = {"auth": base64.b64encode(f"{name}:{'' if token else password}".encode()).decode()}
        if token:
            auths[registry]["identitytoken"] = token
    save_configuration(directory, document)
    line((answer or {}).get("Status") or "Login Succeeded")
    return 0


def _ask(given: Given) -> tuple[str, str]:
    """(name, password). Raises PyruncError where nobody can be asked."""
    name, password = given["username"], given["password"]
    if given["password-stdin"]:
        if password:
            raise PyruncError(INVALID, "--password and --password-stdin are mutually exclusive")
        if not name:
            raise PyruncError(INVALID, "the --password-stdin option requires --username to be set")
        password = sys.stdin.read().rstrip("\r\n")
        if not password:
            raise PyruncError(INVALID, "password is empty")
    if password and not given["password-stdin"]:
        complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if not (name and password) and not is_terminal(0):
        raise PyruncError(INVALID, "cannot perform an interactive login from a non TTY device")
    if not name:
        emit("Username: ")
        name = sys.stdin.readline().strip()
    return name, password or getpass.getpass("Password: ")


def logout(session: Session, given: Given) -> int:
    registry = _registry(given)
    directory = session.configuration
    document = load_configuration(directory)
    helper = (document.get("credHelpers") or {}).get(registry) or document.get("credsStore")
    line(f"Removing login credentials for {registry}")
    known = registry in (document.get("auths") or {})
    if helper:
        ask_helper(helper, "erase", registry)
    if known:
        del document["auths"][registry]
        save_configuration(directory, document)
    elif not helper:
        line(f"Not logged in to {registry}")
    return 0


COMMANDS = {"login": (LOGIN, login), "logout": (LOGOUT, logout)}
