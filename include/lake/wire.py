"""Bytes over HTTP: streamed to and from the object store by pre-signed URL, or through the lake server.

The SDK holds whole objects in memory in both directions, so bytes never pass through it. A pre-signed URL is
a secret until it expires: errors name the host alone.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from include.lake.errors import CorruptObject, ServerRefused
from include.lake.patience import TRANSIENT_STATUSES, Patience, TransientAnswer, is_transient

CONNECTIONS = 32
LONGEST_ERROR_BYTES = 4096


@dataclass(frozen=True)
class Stored:
    """What a store answered to bytes it took.

    Args:
        etag: As it gave it, without quotes.
        body: The rest of the answer.
        opaque: Whether it says that it encrypts, so that the etag is no MD5 of the bytes.
    """

    etag: str
    body: bytes
    opaque: bool


class Wire:
    """Streams of bytes; one per lake, shared by its threads.

    Args:
        configuration: The SDK's: base address and keys of the lake server.
        patience: Its timeouts; retries are the caller's, who may need a fresh URL.
    """

    def __init__(self, configuration: Any, patience: Patience) -> None:
        self._base = configuration.host
        self._own_headers = urllib3.make_headers(
            basic_auth=f"{configuration.username}:{configuration.password}"
        )
        self._pool = urllib3.PoolManager(
            num_pools=8,
            blocksize=1 << 18,
            maxsize=CONNECTIONS,
            retries=False,
            timeout=urllib3.Timeout(connect=patience.connect_timeout_s, read=patience.read_timeout_s),
        )

    def server_url(self, *segments: str, **query: str) -> str:
        """An address of the lake server's API."""
        path = "/".join(quote(segment, safe="") for segment in segments)
        return f"{self._base}/{path}?{urlencode(query)}"

    @contextmanager
    def get(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer to a GET, not yet read; of the bytes `first` to `last`, inclusive, where given.

        Raises:
            TransientAnswer: A later try may succeed.
            CorruptObject: The store does not have the object.
            ServerRefused: It refuses.
        """
        headers = {} if first is None else {"Range": f"bytes={first}-{'' if last is None else last}"}
        with _translated(url):
            response = self._request("GET", url, headers, preload_content=False)
            try:
                if response.status not in ({200} if first is None else {206}):
                    _refuse(url, response, response.read(LONGEST_ERROR_BYTES))
                yield response
            finally:
                response.close()  # of a stream that was read to its end it keeps the connection

    def send(
        self,
        method: str,
        url: str,
        body: Any,
        size_bytes: int,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Send `size_bytes` bytes; what the store answered.

        Raises:
            TransientAnswer: A later try may succeed.
            ServerRefused: It refuses.
        """
        all_headers = {"Content-Length": str(size_bytes), **(headers or {})}
        with _translated(url):
            response = self._request(method, url, all_headers, body=body)
            if not 200 <= response.status < 300:
                _refuse(url, response, response.data)
            return Stored(etag(response), response.data, is_opaque(response))

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], **options: Any
    ) -> urllib3.BaseHTTPResponse:
        own = self._own_headers if url.startswith(self._base + "/") else {}
        return self._pool.request(method, url, headers={**own, **headers}, redirect=False, **options)


def etag(response: urllib3.BaseHTTPResponse) -> str:
    """The entity tag of an answer, without quotes and weakness."""
    return str(response.headers.get("ETag", "")).removeprefix("W/").strip('" ')


def is_opaque(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the store encrypts with keys that make the etag something else than an MD5 of the bytes.

    Source: Amazon S3 API, "Object": ETag of objects under SSE-C or SSE-KMS.
    """
    scheme = response.headers.get("x-amz-server-side-encryption", "")
    by_customer = "x-amz-server-side-encryption-customer-algorithm" in response.headers
    return scheme.startswith("aws:kms") or by_customer


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        message = f"{_host(url)} does not answer ({type(error).__name__})"
        if is_transient(error):
            raise TransientAnswer(message, 0) from error
        raise ServerRefused(message, status=0) from error


def _refuse(url: str, response: urllib3.BaseHTTPResponse, body: bytes) -> None:
    said = _said(body) or response.reason or ""
    message = f"{_host(url)} refused (HTTP {response.status}): {said}"
    if response.status in TRANSIENT_STATUSES:
        raise TransientAnswer(message, response.status, response.headers.get("Retry-After"))
    if response.status in {404, 410}:
        raise CorruptObject(
            f"the lake names an object whose bytes are gone: {message}",
            remedy="Restore it from a backup of the bucket, or revert the commit that added it.",
        )
    raise ServerRefused(
        message,
        status=response.status,
        remedy="The lake server signs these addresses: check its keys for the object store, and its clock.",
    )


def _said(body: bytes) -> str:
    """The code of an S3 error, or the message of a lake server's."""
    text = body.decode("utf-8", "replace")
    found = re.search(r"<Code>([^<]{1,100})</Code>|\"message\":\s*\"([^\"]{1,300})\"", text)
    return next((group for group in found.groups() if group), "") if found else ""


def _host(url: str) -> str:
    parsed = urllib3.util.parse_url(url)
    return f"{parsed.scheme}://{parsed.netloc}"
