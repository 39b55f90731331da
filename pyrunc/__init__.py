"""pyrunc: a container runtime that explains itself. This docstring is the map of the house.

Floors, from the ground up; an import only ever points down (`tests/architecture` holds it):

- ground: `errors`, `record`, `jsonio`, `files`, `log`, `options`, `waiting`
- `kernel`: the raw Linux ABI (system calls, constants, /proc). `oci`: the pure vocabulary of the specs.
- `plan`: pure; config.json + facts about the host -> operations as data
- `linux`: carries out operations on the host side. `child`: carries them out between clone and exec.
- `runtime`: the lifecycle of one container, its state on disk
- `cli`: the command line
- `spawner`: the runtime as a library in a process that lives long, for engines

`import pyrunc` itself costs nothing. The names for users of the library are looked up when they are
first asked for (PEP 562), so that `import pyrunc; pyrunc.Container(...)` works while a lifecycle verb
does not pay for it. It is the one such look-up in the house.
"""

from __future__ import annotations

__version__ = "0.1.0"

_PUBLIC = {
    "Container": "pyrunc.library",
    "PyruncError": "pyrunc.errors",
}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pyrunc' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)
