"""Images, as far as the engine has a say: what containers use, events, and the settings for registries."""

from __future__ import annotations

from pyrunc.image import images as catalogue
from pyrunc.image.options import ImageUse
from pyrunc.oci.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.engine.containers import Containers
    from pyrunc.engine.events import Bus
    from pyrunc.engine.settings import Settings
    from pyrunc.image.images import Image
    from pyrunc.image.store import Store


class Images:
    def __init__(self, store: Store, bus: Bus, containers: Containers, settings: Settings) -> None:
        self.store = store
        self._bus, self._containers, self._settings = bus, containers, settings

    def all(self) -> tuple[Image, ...]:
        return catalogue.list_images(self.store)

    def familiar(self, text: str) -> str:
        """As messages name it: with the tag that is meant. Raises PyruncError INVALID."""
        return parse_reference(text).familiar

    def find(self, text: str) -> Image:
        return catalogue.find_image(self.store, text)

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
