"""A repository of a registry: the distribution API's calls, with authorization (distribution-spec 1.1).

Errors keep docker's words: clients show them, and people search for them.
"""

from __future__ import annotations

import json
import re
import urllib.parse

from pyrunc.errors import DENIED, INTERNAL, INVALID, NOT_FOUND, PyruncError
from pyrunc.image.auth import Authorizer
from pyrunc.image.http import Client, Response, require_not_busy, retried
from pyrunc.oci.digest import require_digest
from pyrunc.oci.image import ACCEPTED, MAXIMUM_DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrunc.image.endpoints import Endpoint
    from pyrunc.image.options import Credentials

_MAXIMUM_ANSWER = 64 << 10
_MAXIMUM_LIST = 4 << 20
_MOST_PAGES = 1000
_NEXT = re.compile(r'<([^>]*)>\s*;.*\brel="?next"?')


class Unreachable(PyruncError):
    """Nobody there, or nobody who speaks this protocol: another endpoint may be tried."""


class Repository:
    """`name` of an image at one endpoint. `scopes` are what tokens are asked for, if not for the `actions` on
    it."""

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        credentials: Credentials | None,
        actions: str = "pull",
        scopes: tuple[str, ...] | None = None,
        shown: str = "",
    ) -> None:
        self.endpoint = endpoint
        self.name = endpoint.repository(path)
        self._shown = shown or self.name
        self._base = f"{endpoint.url}/v2/{self.name}"
        self._client = Client(verify=endpoint.verify, certificates=endpoint.certificates)
        allow_http = endpoint.url.startswith("http://") or not endpoint.verify
        self._authorizer = Authorizer(self._client, credentials, allow_http=allow_http)
        own = (f"repository:{self.name}:{actions}",)
        self._scopes: tuple[str, ...] = own if scopes is None else scopes

    def close(self) -> None:
        self._client.close()

    def also_reads(self, name: str) -> None:
        """Mounting a blob of another repository needs that one's permission, too."""
        self._scopes = (self._scopes[0], f"repository:{name}:pull")

    def connect(self) -> None:
        """Ask whether a registry is there, and what it asks of us (end-1). Raises Unreachable."""

        def ask() -> Response:
            return require_not_busy(self._client.request("GET", f"{self.endpoint.url}/v2/", {}))

        try:
            attempts = self.endpoint.attempts
            with retried("registry does not answer", self.endpoint.url, ask, attempts=attempts) as response:
                response.read(_MAXIMUM_LIST)
                status, challenge = response.status, response.headers.get("www-authenticate", "")
        except PyruncError as error:
            if error.kind != INTERNAL:
                raise
            raise Unreachable(INTERNAL, "registry can't be reached", self.endpoint.url, error.why) from error
        if status == 401 and not self._authorizer.learn(challenge):
            why = f"it asks for {challenge[:100]!r}"
            raise PyruncError(
                DENIED, "registry wants an authorization that we don't know", self.endpoint.url, why
            )
        if status not in (200, 401):
            why = f"status {status}"
            raise Unreachable(INTERNAL, "there is no registry of version 2", self.endpoint.url, why)

    # --- requests -----------------------------------------------------------------------------------

    def _send(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        """One request; a token that has expired meanwhile is got anew. Raises Busy and what else is to be
        tried again."""
        url = url if "://" in url else f"{self._base}/{url}"
        for attempt in range(2):
            known = self._authorizer.header(self._scopes, fresh=attempt > 0) if self._is_own(url) else {}
            response = self._client.request(method, url, {**(headers or {}), **known}, body)
            if response.status != 401 or attempt:
                break
            if not self._authorizer.learn(response.headers.get("www-authenticate", "")):
                break
            response.read(_MAXIMUM_LIST)
            response.close()
        return require_not_busy(response)

    def _is_own(self, url: str) -> bool:
        """Whether it is the registry's: an upload's address may be at another host, which is not to hear our
        token."""
        own, other = urllib.parse.urlsplit(self._base), urllib.parse.urlsplit(url)
        return (own.scheme, own.netloc) == (other.scheme, other.netloc)

    def ask(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        """As _send, tried again while that may help. The caller closes it."""
        return retried(f"{method} failed", self._base, lambda: self._send(method, url, headers, body))

    def refusal(self, response: Response, what: str) -> PyruncError:
        """The error that an answer means, with the registry's own words."""
        words, code = _registry_words(response)
        response.close()
        if response.status in (401, 403) or code in ("UNAUTHORIZED", "DENIED"):
            return PyruncError(DENIED, what, "", words, "log in, or check the repository's name")
        kind = NOT_FOUND if response.status == 404 else INTERNAL
        return PyruncError(kind, what, "", words)

    # --- reading ------------------------------------------------------------------------------------

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """Bytes and media type of a manifest or index, by tag or digest. Raises NOT_FOUND, DENIED."""
        with self.ask("GET", f"manifests/{reference}", {"Accept": ", ".join(ACCEPTED)}) as response:
            if response.status == 404:
                words, mark = _registry_words(response)[0], "@" if ":" in reference else ":"
                raise PyruncError(
                    NOT_FOUND, f"manifest for {self._shown}{mark}{reference} not found", "", words
                )
            if response.status != 200:
                what = f"pull access denied for {self._shown}, repository does not exist or may require login"
                raise self.refusal(response, what if response.status in (401, 403) else "can't read manifest")
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            return response.read(MAXIMUM_DOCUMENT), kind

    def has_manifest(self, digest: str) -> bool:
        with self.ask("HEAD", f"manifests/{digest}", {"Accept": ", ".join(ACCEPTED)}) as response:
            return response.status == 200

    def open_blob(self, digest: str, offset: int) -> tuple[Response, int]:
        """The answer with a blob's bytes, and where they begin: a server may not know of ranges. One attempt:
        raises Busy and connection errors as they come. Raises NOT_FOUND, DENIED."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._send("GET", f"blobs/{digest}", headers)
        if response.status == 206 and offset:
            said = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
            if said and int(said[1]) == offset:
                return response, offset
            response.close()
            raise PyruncError(INVALID, "registry sent another range", digest)
        if response.status == 200:
            return response, 0
        try:
            raise self.refusal(response, f"can't read blob {digest}")
        finally:
            response.close()

    def tags(self) -> Iterator[str]:
        """All tags."""
        for data, base in self.pages("tags/list", f"can't list the tags of {self.name}"):
            try:
                names = json.loads(data).get("tags") or []
            except (ValueError, AttributeError) as error:
                raise PyruncError(INVALID, "registry's answer is not understood", base) from error
            yield from (name for name in names if isinstance(name, str))

    def pages(self, url: str, what: str) -> Iterator[tuple[bytes, str]]:
        """Of a list that comes page by page (Link header): each one's bytes and address. `what`: the error
        where there is none."""
        for _ in range(_MOST_PAGES):
            with self.ask("GET", url) as response:
                if response.status != 200:
                    raise self.refusal(response, what)
                data, link = response.read(_MAXIMUM_LIST), response.headers.get("link", "")
                base = response.url
            yield data, base
            more = _NEXT.search(link)
            if not more:
                return
            url = urllib.parse.urljoin(base, more[1])

    # --- writing ------------------------------------------------------------------------------------

    def has_blob(self, digest: str) -> bool:
        with self.ask("HEAD", f"blobs/{digest}") as response:
            if response.status in (401, 403):
                raise self.refusal(response, f"push access denied for {self._shown}")
            return response.status == 200

    def start_upload(self, digest: str, mount_from: str = "") -> str:
        """The address to upload to; "" where the blob was mounted from the repository `mount_from`, and
        nothing is left to do."""
        url = "blobs/uploads/"
        if mount_from:
            url += "?" + urllib.parse.urlencode({"mount": digest, "from": mount_from})
        with self.ask("POST", url, {"Content-Length": "0"}, b"") as response:
            if response.status == 201 and mount_from:
                return ""
            if response.status != 202:
                raise self.refusal(response, f"push access denied for {self._shown}")
            response.read(_MAXIMUM_ANSWER)
            return self._location(response)

    def _location(self, response: Response) -> str:
        location = response.headers.get("location")
        if not location:
            raise PyruncError(INVALID, "registry gave no address to upload to", response.url)
        return urllib.parse.urljoin(response.url, location)

    def upload_chunk(self, url: str, data: bytes, offset: int) -> str:
        """PATCH: one attempt, as open_blob. The address for what follows. Raises ConnectionError where the
        upload stands elsewhere."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(data)),
            "Content-Range": f"{offset}-{offset + len(data) - 1}",
        }
        with self._send("PATCH", url, headers, data) as response:
            if response.status == 416:
                raise ConnectionError("the registry has another part of it")
            if response.status not in (202, 204):
                raise self.refusal(response, "upload failed")
            response.read(_MAXIMUM_ANSWER)
            return self._location(response)

    def upload_offset(self, url: str) -> tuple[str, int] | None:
        """How much of an upload has arrived; None if the registry has forgotten it."""
        with self.ask("GET", url) as response:
            response.read(_MAXIMUM_ANSWER)
            if response.status not in (200, 204):
                return None
            said = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("range", ""))
            location = response.headers.get("location", url)
        # Of nothing and of one byte some registries say the same: a PATCH at 0 is answered by the truth
        end = int(said[1]) + 1 if said and int(said[1]) else 0
        return urllib.parse.urljoin(url, location), end

    def finish_upload(self, url: str, digest: str) -> None:
        require_digest(digest)
        joined = "&" if urllib.parse.urlsplit(url).query else "?"
        url = f"{url}{joined}{urllib.parse.urlencode({'digest': digest})}"
        with self.ask("PUT", url, {"Content-Length": "0"}, b"") as response:
            if response.status not in (201, 204):
                raise self.refusal(response, "upload failed")
            response.read(_MAXIMUM_ANSWER)

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        with self.ask("PUT", f"manifests/{reference}", {"Content-Type": media_type}, data) as response:
            if response.status not in (200, 201, 202):
                raise self.refusal(response, f"can't push manifest of {self.name}:{reference}")
            response.read(_MAXIMUM_ANSWER)


def _registry_words(response: Response) -> tuple[str, str]:
    """The first error of a registry's answer: "manifest unknown", and its code."""
    data = response.read(_MAXIMUM_LIST)
    try:
        first = json.loads(data)["errors"][0]
        code, message = str(first.get("code") or ""), str(first.get("message") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        text = data[:200].decode("utf-8", "replace").strip()
        return f"status {response.status}" + (f": {text}" if text else ""), ""
    return f"{code.lower().replace('_', ' ')}: {message}"[:500], code
