"""What callers say and what they are told: the Records of this package's functions."""

from __future__ import annotations

from pyrunc.oci.image import Platform
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.progress import Callback


class Credentials(Record):
    """Of one registry. `identity_token` is an OAuth2 refresh token, `registry_token` a bearer token as it
    is."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""


class Mirror(Record):
    """Where to ask before the registry itself. `url`: scheme://host[:port][/prefix]; a repository whose path
    begins with `rewrite[0]` has that replaced by `rewrite[1]`."""

    url: str
    rewrite: tuple[str, str] = ("", "")
    insecure: bool = False  # its certificate isn't verified


class Registries(Record):
    """How registries are reached. `mirrors`: (registry, its mirrors in order); `insecure`: registries, or
    networks as 10.0.0.0/8, that are asked without verifying certificates, and then by plain http; loopback
    addresses always are. `certificates`: a directory with HOST/{ca.crt,*.crt,client.cert,client.key}."""

    mirrors: tuple[tuple[str, tuple[Mirror, ...]], ...] = ()
    insecure: tuple[str, ...] = ()
    certificates: str = "/etc/docker/certs.d"


class Limits(Record):
    """What an image may cost: a decompression bomb is stopped here."""

    layer_bytes: int = 64 << 30  # uncompressed
    layer_entries: int = 4_000_000
    ratio: int = 2000  # of uncompressed to compressed; asked beyond 64 MiB


class PullOptions(Record):
    """`credentials` None: those of docker's config.json (and its helpers) in `config_file`, "" for
    $DOCKER_CONFIG or ~/.docker/config.json."""

    platform: Platform | None = None
    credentials: Credentials | None = None
    config_file: str = ""
    registries: Registries = Registries()
    limits: Limits = Limits()
    parallel: int = 3
    progress: Callback | None = None


class PushOptions(Record):
    """As PullOptions. `platform`: of an index, that manifest alone."""

    platform: Platform | None = None
    credentials: Credentials | None = None
    config_file: str = ""
    registries: Registries = Registries()
    parallel: int = 5
    progress: Callback | None = None


class ImportOptions(Record):
    """`reference` "" leaves the image without a name. `changes`: Dockerfile lines, as "CMD [\\"sh\\"]"."""

    reference: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    platform: Platform | None = None
    limits: Limits = Limits()
    progress: Callback | None = None


class CommitOptions(Record):
    """`image_id` is what the container was made from ("" for a layer on nothing); `config` the container's
    own settings in the words of an image config (Env, Cmd, …), which the new image has; `container` is
    told in it;
    `created_by` is the step's line in the history."""

    image_id: str = ""
    config: dict[str, object] | None = None
    container: str = ""
    created_by: str = ""
    reference: str = ""
    author: str = ""
    comment: str = ""
    changes: tuple[str, ...] = ()


class ImageUse(Record):
    """A container, as far as images care."""

    image_id: str
    container: str
    running: bool


class Removed(Record):
    """`action` is Untagged or Deleted; `name` a familiar reference, an image ID, or a layer's chain id."""

    action: str
    name: str


class Pruned(Record):
    removed: tuple[Removed, ...]
    reclaimed_bytes: int


class Change(Record):
    """`kind` is A, C or D; `path` absolute, as the container sees it."""

    kind: str
    path: str


class Loaded(Record):
    """`names`: familiar references that the archive gave the image, none for an image by ID alone."""

    image_id: str
    names: tuple[str, ...]


class ImageUsage(Record):
    """Bytes unpacked: `size` of all its layers, `shared` of those that another image has too."""

    image_id: str
    size: int
    shared: int

    @property
    def unique(self) -> int:
        return self.size - self.shared


class DiskUsage(Record):
    """`layers_bytes`: of each layer once; `blobs_bytes`: what the compressed layers and documents take."""

    images: tuple[ImageUsage, ...]
    layers_bytes: int
    blobs_bytes: int
