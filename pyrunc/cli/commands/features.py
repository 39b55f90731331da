"""pyrunc features: what this runtime can do, as the JSON document of the runtime specification."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.cli.main import Settings, emit
from pyrunc.oci.features import features_document
from pyrunc.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(name="features", summary="Print what pyrunc supports, as JSON.")


def main(settings: Settings, given: dict[str, Any]) -> int:
    emit(jsonio.dumps(features_document(), indent=4) + "\n")
    return 0
