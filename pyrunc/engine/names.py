"""Names of containers: what may be one, and one for who gave none."""

from __future__ import annotations

import re
import secrets

from pyrunc.errors import INVALID, PyruncError

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)
_HOW = (
    "able", "awake", "bold", "brave", "bright", "brisk", "calm", "candid", "cheerful", "clever", "cosy",
    "curious", "daring", "deft", "eager", "early", "fair", "fluent", "fond", "frank", "gentle", "glad",
    "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid", "merry", "mild", "neat",
    "nimble", "patient", "plucky", "polite", "proud", "quick", "quiet", "ready", "sharp", "sincere", "smart",
    "steady", "sturdy", "sunny", "tidy", "upbeat", "vivid", "warm", "wise", "witty", "zesty",
)  # fmt: skip
_WHAT = (
    "badger", "beaver", "bison", "bittern", "chamois", "crane", "cricket", "curlew", "dipper", "dormouse",
    "dunlin", "eider", "falcon", "finch", "gannet", "gecko", "grebe", "hare", "heron", "hoopoe", "ibex",
    "jackdaw", "kestrel", "kite", "lapwing", "lark", "linnet", "lynx", "marten", "merlin", "newt", "ocelot",
    "oriole", "osprey", "otter", "ouzel", "petrel", "pika", "pintail", "plover", "puffin", "quail", "raven",
    "robin", "sable", "shrike", "siskin", "snipe", "stoat", "swift", "tern", "thrush", "vole", "wigeon",
    "wren",
)  # fmt: skip


def require_name(name: str) -> str:
    """Without the slash that old clients put before it. Raises PyruncError INVALID."""
    if not _NAME.fullmatch(name):
        raise PyruncError(
            INVALID, f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return name.removeprefix("/")


def random_name(attempt: int = 0) -> str:
    """How it is, and what; with a number behind it once some were taken."""
    name = f"{secrets.choice(_HOW)}_{secrets.choice(_WHAT)}"
    return f"{name}{secrets.randbelow(10**attempt)}" if attempt else name
