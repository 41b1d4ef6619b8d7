"""Takes the body of an upload piece by piece: raw, or the `content` of a multipart form."""

from collections.abc import AsyncIterator
from typing import Any

from include.stack.lakefs.blockstore.store import Blockstore, Writer, Written
from include.stack.lakefs.call import Call
from include.stack.lakefs.model import Invalid, LakeError
from include.stack.lakefs.pools import Pools

SPILL_BYTES = 2 * 2**20
"""How much of a body is held before it is written to the blockstore."""

DEFAULT_CONTENT_TYPE = "application/octet-stream"


class TooLarge(LakeError):
    """The body is larger than this server takes."""

    status = 413


class ClientGone(LakeError):
    """The client went away before its body was complete."""

    status = 400


def check_size(size: int, max_bytes: int) -> None:
    """Check that a body, or what came of it so far, is not too large.

    Raises:
        TooLarge: It is.
    """
    if size > max_bytes:
        raise TooLarge(f"body is larger than {max_bytes} bytes")


class Content:
    """The bytes of an upload, and their content type once the first of them was read."""

    def __init__(self, call: Call, content_type: str) -> None:
        self.call = call
        self.content_type = content_type

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, as they arrive."""
        async for piece in body_of(self.call):
            yield piece


async def body_of(call: Call) -> AsyncIterator[bytes]:
    """The raw body of a request, as it arrives.

    Raises:
        ClientGone: The connection closed before the end.
    """
    more = True
    while more:
        message = await call.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the request ended before its body was complete")
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]


def content_of(call: Call) -> Content:
    """The content of an upload.

    Raises:
        Invalid: A multipart form without a boundary.
    """
    given = call.headers.get("content-type") or DEFAULT_CONTENT_TYPE
    if not given.lower().startswith("multipart/form-data"):
        return Content(call, given)
    from python_multipart.multipart import parse_options_header

    _, options = parse_options_header(given)
    boundary = options.get(b"boundary")
    if not boundary:
        raise Invalid("multipart upload has no boundary")
    return FormContent(call, boundary)


class FormContent(Content):
    """The part `content` of a multipart form."""

    def __init__(self, call: Call, boundary: bytes) -> None:
        super().__init__(call, DEFAULT_CONTENT_TYPE)
        self._boundary = boundary
        self._field = bytearray()
        self._value = bytearray()
        self._headers: dict[str, bytes] = {}
        self._inside = False
        self._found = False
        self._pieces: list[bytes] = []

    async def pieces(self) -> AsyncIterator[bytes]:
        """See `Content`.

        Raises:
            Invalid: The form cannot be read, or has no part `content`.
        """
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser

        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._headers_done,
        }
        parser = MultipartParser(self._boundary, callbacks)
        try:
            async for piece in body_of(self.call):
                parser.write(piece)
                for found in self._pieces:
                    yield found
                self._pieces.clear()
            parser.finalize()
        except FormParserError as error:
            raise Invalid(f"multipart upload cannot be read: {error}") from error
        if not self._found:
            raise Invalid("multipart upload missing key 'content'")

    def _begin(self) -> None:
        self._headers.clear()
        self._inside = False

    def _header(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _headers_done(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        if options.get(b"name") != b"content" or self._found:
            return
        self._inside = self._found = True
        kind = self._headers.get("content-type")
        self.content_type = kind.decode("latin-1") if kind else DEFAULT_CONTENT_TYPE

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._pieces.append(data[start:end])

    def _end(self) -> None:
        self._inside = False


class Upload:
    """Writes a body to the blockstore in bounded memory; nothing is left of one that fails.

    Args:
        blockstore: Where to.
        uri: Full address of the new object.
        max_bytes: Largest body that is taken.
        pools: Where writing waits.
    """

    def __init__(self, blockstore: Blockstore, uri: str, max_bytes: int, pools: Pools) -> None:
        self._blockstore = blockstore
        self._uri = uri
        self._max_bytes = max_bytes
        self._pools = pools
        self._writer: Writer | None = None

    async def take(self, content: Content) -> Written:
        """Read the content to its end and make it durable.

        Raises:
            TooLarge: There is more of it than is taken.
            ClientGone: It broke off.
            StorageError: It could not be written.
        """
        held = bytearray()
        size = 0
        try:
            async for piece in content.pieces():
                size += len(piece)
                check_size(size, self._max_bytes)
                held += piece
                if len(held) >= SPILL_BYTES:
                    await self._pools.quick(self._spill, bytes(held))
                    held.clear()
            return await self._pools.quick(self._finish, bytes(held))
        except BaseException:
            if self._writer is not None:
                await self._pools.quick(self._writer.abort)
            raise

    def _spill(self, data: bytes) -> Writer:
        if self._writer is None:
            self._writer = self._blockstore.writer(self._uri)
        self._writer.write(data)
        return self._writer

    def _finish(self, data: bytes) -> Written:
        return self._spill(data).finish()
