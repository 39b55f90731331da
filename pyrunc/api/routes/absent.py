"""What Docker's API has and we have not: one clear error each, in Docker's words where it has some."""

from __future__ import annotations

from pyrunc.api.status import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrunc.api.call import Call
    from pyrunc.api.router import Handler, Route

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_NO_SWARM = (
    "This node is not a swarm manager. Swarm mode is not supported by pyrunc: it runs containers of one host."
)
_NO_PLUGINS = "plugins are not supported by pyrunc"
_NO_BUILDER = "building images is not supported by this version of pyrunc"
_NO_BUILDKIT = "BuildKit sessions are not supported by pyrunc"
_NO_WEBSOCKETS = "attaching by a websocket is not supported by pyrunc: attach without"
_NO_CHECKPOINTS = "checkpoints are not supported by the engine of pyrunc"

# path -> (code, sentence)
_ABSENT = {
    **{
        path: (503, _NO_SWARM)
        for name in ("swarm", "nodes", "services", "tasks", "secrets", "configs")
        for path in (f"/{name}", f"/{name}/{{rest*}}")
    },
    "/plugins": (501, _NO_PLUGINS),
    "/plugins/{rest*}": (501, _NO_PLUGINS),
    "/build": (501, _NO_BUILDER),
    "/build/cancel": (501, _NO_BUILDER),
    "/session": (501, _NO_BUILDKIT),
    "/grpc": (501, _NO_BUILDKIT),
    "/containers/{name}/attach/ws": (501, _NO_WEBSOCKETS),
    "/containers/{name}/checkpoints": (501, _NO_CHECKPOINTS),
    "/containers/{name}/checkpoints/{rest*}": (501, _NO_CHECKPOINTS),
}


def _refusal(code: int, sentence: str) -> Handler:
    def refuse(_: object, __: Call) -> NoReturn:
        raise HttpError(code, sentence)

    return refuse


ROUTES: tuple[Route, ...] = (
    ("PUT", "/volumes/{name}", _refusal(503, _NO_SWARM)),  # of cluster volumes alone
    *(
        (method, path, _refusal(code, sentence))
        for path, (code, sentence) in _ABSENT.items()
        for method in _METHODS
    ),
)
