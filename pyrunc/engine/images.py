"""Images, as far as the engine has a say: what containers use, events, and the settings for registries."""

from __future__ import annotations

import time

from pyrunc.errors import INVALID, PyruncError
from pyrunc.image import images as catalogue
from pyrunc.image.images import ImageFilter
from pyrunc.image.options import ImageUse
from pyrunc.oci.reference import parse_reference
from pyrunc.options import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.events import Bus
    from pyrunc.engine.settings import Settings
    from pyrunc.image.images import HistoryItem, Image
    from pyrunc.image.store import Store

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Images:
    def __init__(self, store: Store, bus: Bus, containers: Containers, settings: Settings) -> None:
        self.store = store
        self._bus, self._containers, self._settings = bus, containers, settings

    # --- looking ----------------------------------------------------------------------------------

    def all(self) -> tuple[Image, ...]:
        return catalogue.list_images(self.store)

    def select(self, filters: dict[str, tuple[str, ...]], *, everything: bool = False) -> tuple[Image, ...]:
        """Raises PyruncError INVALID, NOT_FOUND."""
        return catalogue.select_images(self.all(), make_filter(filters))

    def familiar(self, text: str) -> str:
        """As messages name it: with the tag that is meant. Raises PyruncError INVALID."""
        return parse_reference(text).familiar

    def find(self, text: str, platform: str = "") -> Image:
        """By name or id. Raises PyruncError NOT_FOUND."""
        return catalogue.find_image(self.store, text)

    def history(self, text: str) -> tuple[HistoryItem, ...]:
        return catalogue.history(self.store, self.find(text))

    def seconds_of(self, created: str) -> float:
        return catalogue.seconds_of(created)

    def uses(self) -> tuple[ImageUse, ...]:
        return tuple(
            ImageUse(
                image_id=container.image_id,
                container=container.id,
                running=self._containers.state(container).is_running,
            )
            for container in self._containers.all()
            if container.image_id
        )

    def driver(self, image: Image) -> dict[str, Any]:
        """GraphDriver."""
        snapshots = self.store.snapshots
        if type(snapshots).__name__ != "Overlay" or not image.chain_id:
            return {"Name": "vfs", "Data": {}}
        upper, *lower = snapshots.layers_of(image.chain_id)
        return {"Name": "overlay2", "Data": {"UpperDir": upper, "LowerDir": ":".join(lower)}}

    # --- naming -----------------------------------------------------------------------------------

    def tag(self, text: str, repository: str, tag: str) -> None:
        """Raises PyruncError NOT_FOUND, INVALID."""
        image = self.find(text)
        name = f"{repository}:{tag}" if tag else repository
        catalogue.tag(self.store, image, name)
        self._publish("tag", image.id, self.familiar(name))

    def _publish(self, action: str, id: str, name: str = "") -> None:
        self._bus.publish("image", action, id, name=name or id)


def make_filter(filters: dict[str, tuple[str, ...]]) -> ImageFilter:
    """Of the API's. Raises PyruncError INVALID."""
    dangling = None
    if "dangling" in filters:
        (text,) = filters["dangling"][-1:] or ("",)
        if text.lower() not in _BOOLEANS:
            raise PyruncError(INVALID, f"invalid filter 'dangling={text}'")
        dangling = _BOOLEANS[text.lower()]
    until = None
    if filters.get("until"):
        text = filters["until"][-1]
        try:
            until = time.time() - parse_duration(text)
        except ValueError:
            until = float(text) if text.replace(".", "", 1).isdigit() else catalogue.seconds_of(text)
    return ImageFilter(
        references=filters.get("reference", ()),
        dangling=dangling,
        labels=filters.get("label", ()),
        without_labels=filters.get("label!", ()),
        before=filters.get("before", ()),
        since=filters.get("since", ()),
        until=until,
    )
