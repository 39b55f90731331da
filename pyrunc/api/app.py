"""The routes with an engine behind them: what the daemon serves, and what a client in our own process talks
to."""

from __future__ import annotations

from pyrunc.api.router import Router
from pyrunc.api.routes import absent, containers, execs, images, streams, system, transfers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.engine.engine import Engine

GROUPS = (
    system.ROUTES,
    containers.ROUTES,
    streams.ROUTES,
    execs.ROUTES,
    images.ROUTES,
    transfers.ROUTES,
    absent.ROUTES,
)


def make_router(engine: Engine) -> Router:
    return Router((engine, routes) for routes in GROUPS)
