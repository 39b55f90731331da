"""Images, as far as the engine has a say: what containers use, events, and the settings for registries."""

from __future__ import annotations

import time

from pyrunc import log
from pyrunc.errors import INVALID, PyruncError
from pyrunc.image import images as catalogue
from pyrunc.image import removal
from pyrunc.image.images import ImageFilter
from pyrunc.image.options import (
    Credentials,
    ImageUse,
    ImportOptions,
    Mirror,
    PullOptions,
    PushOptions,
    Registries,
)
from pyrunc.image.platforms import parse_platform
from pyrunc.image.usage import disk_usage
from pyrunc.later import later
from pyrunc.oci.reference import parse_reference
from pyrunc.options import parse_duration
from pyrunc.record import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.events import Bus
    from pyrunc.engine.settings import Settings
    from pyrunc.image import archive, asking, importer, load, pull, push
    from pyrunc.image.asking import Found
    from pyrunc.image.images import HistoryItem, Image
    from pyrunc.image.options import DiskUsage, Pruned, Removed
    from pyrunc.image.progress import Callback
    from pyrunc.image.store import Store
    from pyrunc.oci.image import Descriptor, Platform
else:
    archive, asking, importer, load, pull, push = (
        later(f"pyrunc.image.{name}") for name in ("archive", "asking", "importer", "load", "pull", "push")
    )

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Images:
    def __init__(self, store: Store, bus: Bus, containers: Containers, settings: Settings) -> None:
        self.store = store
        self._bus, self._containers, self.settings = bus, containers, settings

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
        return catalogue.find_image(self.store, text, parse_platform(platform) if platform else None)

    def history(self, text: str) -> tuple[HistoryItem, ...]:
        return catalogue.history(self.store, self.find(text))

    def seconds_of(self, created: str) -> float:
        return catalogue.seconds_of(created)

    def uses(self) -> tuple[ImageUse, ...]:
        return tuple(
            ImageUse(
                image_id=container.image_id,
                container=container.id,
                running=self._containers.last_state(container).is_running,
            )
            for container in self._containers.all()
            if container.image_id
        )

    def disk_usage(self) -> DiskUsage:
        return disk_usage(self.store)

    def driver(self, image: Image) -> dict[str, Any]:
        """GraphDriver."""
        snapshots = self.store.snapshots
        if type(snapshots).__name__ != "Overlay" or not image.chain_id:
            return {"Name": "vfs", "Data": {}}
        upper, *lower = snapshots.layers_of(image.chain_id)
        return {"Name": "overlay2", "Data": {"UpperDir": upper, "LowerDir": ":".join(lower)}}

    # --- names ------------------------------------------------------------------------------------

    def tag(self, text: str, repository: str, tag: str) -> None:
        """Raises PyruncError NOT_FOUND, INVALID."""
        image = self.find(text)
        name = f"{repository}:{tag}" if tag else repository
        catalogue.tag(self.store, image, name)
        self._publish("tag", image.id, self.familiar(name))

    def remove(self, text: str, *, force: bool, prunes_parents: bool) -> tuple[Removed, ...]:
        """In the order in which names and images went. Raises PyruncError NOT_FOUND, CONFLICT."""
        image = self.find(text)
        removed = removal.remove(
            self.store, text, force=force, prune_parents=prunes_parents, uses=self.uses()
        )
        self._publish_removed(image.id, removed)
        return removed

    def prune(self, filters: dict[str, tuple[str, ...]]) -> Pruned:
        """Those without a name; with `dangling` false all that no container has."""
        wanted = make_filter(filters)
        pruned = removal.prune(
            self.store,
            replaced(wanted, dangling=None),
            everything=wanted.dangling is False,
            uses=self.uses(),
        )
        for removed in pruned.removed:
            self._publish("untag" if removed.action == "Untagged" else "delete", removed.name)
        self._bus.publish("image", "prune", "", reclaimed=str(pruned.reclaimed_bytes))
        return pruned

    def _publish_removed(self, id: str, removed: tuple[Removed, ...]) -> None:
        for one in removed:
            if one.action == "Untagged":
                self._publish("untag", id, id)
            elif one.name == id:
                self._publish("delete", id, id)

    # --- from and to registries -------------------------------------------------------------------

    def pull(
        self, name: str, tag: str, *, platform: str, credentials: dict[str, Any], progress: Callback
    ) -> None:
        """`tag`: a tag or a digest; none is all tags of the repository. Raises PyruncError."""
        options = PullOptions(
            platform=parse_platform(platform) if platform else None,
            credentials=make_credentials(credentials),
            registries=self._registries(),
            progress=progress,
        )
        bare = parse_reference(name, default_tag="")
        if tag.startswith("sha256:"):
            wanted = [replaced(bare, tag="", digest=tag)]
        elif tag or bare.tag or bare.digest:
            wanted = [replaced(bare, tag=tag) if tag else bare]
        else:
            wanted = [replaced(bare, tag=one) for one in pull.list_tags(bare, options)]
        for reference in wanted:
            image = pull.pull(self.store, reference, options)
            self._publish("pull", reference.familiar, reference.familiar_repository)
            log.debug(f"pulled {reference.familiar}: {image.id}")

    def push(self, name: str, tag: str, *, credentials: dict[str, Any], progress: Callback) -> Descriptor:
        """Raises PyruncError."""
        bare = parse_reference(name, default_tag="")
        reference = replaced(bare, tag=tag or bare.tag or "latest")
        options = PushOptions(
            credentials=make_credentials(credentials), registries=self._registries(), progress=progress
        )
        pushed = push.push(self.store, reference, options)
        self._publish("push", reference.familiar, reference.familiar_repository)
        return pushed

    def all_tags(self, name: str) -> tuple[str, ...]:
        """That there are here of a repository: for a push of all of them."""
        repository = parse_reference(name, default_tag="").familiar_repository
        found = (tag for image in self.all() for tag in image.tags)
        return tuple(tag.rpartition(":")[2] for tag in found if tag.rpartition(":")[0] == repository)

    def check_credentials(self, server: str, credentials: dict[str, Any]) -> None:
        """Raises PyruncError DENIED if the registry refuses them."""
        asking.check_credentials(server, make_credentials(credentials), self._registries())

    def search(self, term: str, limit: int, credentials: dict[str, Any]) -> tuple[Found, ...]:
        """Raises PyruncError."""
        return asking.search(term, limit, make_credentials(credentials), self._registries())

    def look_up(self, name: str, credentials: dict[str, Any]) -> tuple[Descriptor, tuple[Platform, ...]]:
        """What a registry has by that name, and for which platforms. Raises PyruncError."""
        options = PullOptions(credentials=make_credentials(credentials), registries=self._registries())
        return asking.look_up(parse_reference(name), options)

    def _registries(self) -> Registries:
        mirrors = tuple(Mirror(url=url) for url in self.settings.registry_mirrors)
        return Registries(
            mirrors=(("docker.io", mirrors),) if mirrors else (),
            insecure=self.settings.insecure_registries,
        )

    # --- archives ---------------------------------------------------------------------------------

    def save(self, texts: tuple[str, ...], sink: Callable[[bytes], object], platform: str = "") -> None:
        """Raises PyruncError NOT_FOUND, before anything is written."""
        archive.save(self.store, texts, sink, parse_platform(platform) if platform else None)
        for text in texts:
            self._publish("save", self.find(text).id)

    def load(self, source: Callable[[int], bytes], progress: Callback) -> None:
        """Raises PyruncError INVALID."""
        for loaded in load.load(self.store, source, progress=progress):
            self._publish("load", loaded.image_id)

    def import_tree(
        self,
        source: Callable[[int], bytes] | str,
        *,
        reference: str,
        message: str,
        changes: tuple[str, ...],
        platform: str,
    ) -> Image:
        """`source`: reads it, or where it is to be fetched. Raises PyruncError INVALID."""
        options = ImportOptions(
            reference=reference,
            message=message,
            changes=changes,
            platform=parse_platform(platform) if platform else None,
        )
        if isinstance(source, str):
            with importer.fetched(source) as read:
                made = importer.import_tree(self.store, read, options)
        else:
            made = importer.import_tree(self.store, source, options)
        self._publish("import", made.id)
        return made

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


def make_credentials(given: dict[str, Any]) -> Credentials:
    """Of X-Registry-Auth: what the client has, and not what is found in a file of ours."""
    return Credentials(
        username=str(given.get("username") or ""),
        password=str(given.get("password") or ""),
        identity_token=str(given.get("identitytoken") or ""),
        registry_token=str(given.get("registrytoken") or ""),
    )
