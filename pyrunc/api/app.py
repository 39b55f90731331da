"""The routes with an engine behind them: what the daemon serves, and what a client in our own process talks
to."""

from __future__ import annotations

from pyrunc.api.router import Router
from pyrunc.api.routes import (
    absent,
    containers,
    execs,
    files,
    images,
    networks,
    observe,
    registries,
    streams,
    system,
    transfers,
    volumes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.engine.engine import Engine

GROUPS = (
    system,
    containers,
    streams,
    execs,
    files,
    registries,
    images,
    transfers,
    volumes,
    networks,
    observe,
    absent,
)


def make_router(engine: Engine) -> Router:
    return Router((engine, group.ROUTES) for group in GROUPS)
