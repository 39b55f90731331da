"""Libraries that are not ours, for the modules that may have them: cli.face (click), what explains a rejected
config.json (jsonschema), linux.netdevices (pyroute2).

`make install` puts them in a directory of their own beside the package. It comes last on the search path,
and only now: a plain call neither looks there nor can be led to import from there.
"""

from __future__ import annotations

import sys

from pyrunc.errors import UNSUPPORTED, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VENDOR = __file__.rsplit("/", 2)[0] + "/vendor"


def load(name: str, wanted_for: str) -> Any:
    """The module `name`. Raises PyruncError UNSUPPORTED with what can't be done without it."""
    reach()
    try:
        return __import__(name, fromlist=("",))
    except ImportError as error:
        raise PyruncError(
            UNSUPPORTED, f"{wanted_for} needs a Python package", name, str(error), hint=f"pip install {name}"
        ) from error


def reach() -> None:
    """From now on, import statements find them too: for an engine, whose floors need some of them."""
    if _VENDOR not in sys.path:
        sys.path.append(_VENDOR)
