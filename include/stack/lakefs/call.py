"""One request and its answer, as the route handlers see them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from include.stack.lakefs.model import Invalid, LakeError, Page

T = TypeVar("T", bound=msgspec.Struct)

DEFAULT_PER_PAGE = 100
MAX_PER_PAGE = 1000


class NotSupported(LakeError):
    """Part of the lakeFS API that this server does not have."""

    status = 501


class RangeNotSatisfiable(LakeError):
    """The Range header asks for nothing that the object has."""

    status = 416

    def __init__(self, size_bytes: int) -> None:
        super().__init__("Requested Range Not Satisfiable")
        self.size_bytes = size_bytes


class Call:
    """A request.

    Args:
        scope: The ASGI scope.
        path: Values of the path parameters, unquoted.
        user: Name of the caller; "" on paths that need none.
        body: The whole body of a JSON request; empty on streaming routes.
    """

    __slots__ = ("_headers", "_query", "body", "path", "receive", "scope", "user")

    def __init__(self, scope: Scope, receive: Receive, path: Mapping[str, str], user: str) -> None:
        self.scope = scope
        self.receive = receive
        self.path = path
        self.user = user
        self.body = b""
        self._query: dict[str, list[str]] | None = None
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:
        """The request's headers; names in any case."""
        if self._headers is None:
            self._headers = Headers(scope=self.scope)
        return self._headers

    def all(self, name: str) -> list[str]:
        """All values of a query parameter, in order."""
        if self._query is None:
            raw: bytes = self.scope.get("query_string", b"")
            try:
                self._query = parse_qs(
                    raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=2000
                )
            except ValueError as error:
                raise Invalid("query string cannot be read") from error
        return self._query.get(name, [])

    def text(self, name: str, default: str = "") -> str:
        """A query parameter, or its default where it is absent."""
        values = self.all(name)
        return values[0] if values else default

    def required(self, name: str) -> str:
        """A query parameter that must be there and not be empty.

        Raises:
            Invalid: It is not.
        """
        value = self.text(name)
        if not value:
            raise Invalid(f'parameter "{name}" in query is required')
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean query parameter.

        Raises:
            Invalid: It is neither true nor false.
        """
        value = self.text(name)
        if not value:
            return default
        if value.lower() in ("true", "1", "t"):
            return True
        if value.lower() in ("false", "0", "f"):
            return False
        raise Invalid(f'parameter "{name}" in query must be true or false, not {value!r}')

    def number(self, name: str) -> int | None:
        """An integer query parameter, None where it is absent.

        Raises:
            Invalid: It is not an integer.
        """
        value = self.text(name)
        if not value:
            return None
        try:
            return int(value)
        except ValueError as error:
            raise Invalid(f'parameter "{name}" in query must be an integer, not {value!r}') from error

    def amount(self) -> int:
        """The page size: 100 where none is given, at most 1000.

        Raises:
            Invalid: It is out of range.
        """
        value = self.number("amount")
        if value is None:
            return DEFAULT_PER_PAGE
        if not -1 <= value <= MAX_PER_PAGE:
            raise Invalid(f'parameter "amount" in query must be between -1 and {MAX_PER_PAGE}, not {value}')
        return value if value > 0 else DEFAULT_PER_PAGE

    def json(self, kind: type[T]) -> T:
        """The body as a struct.

        Raises:
            Invalid: It is not JSON, or misses a field, or has one of another type.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.ValidationError as error:
            raise Invalid(f"request body has an error: {error}") from error
        except msgspec.DecodeError as error:
            raise Invalid(f"request body is not JSON: {error}") from error

    def json_list(self, kind: type[T]) -> list[T]:
        """The body as a list of structs; errors as for `json`."""
        try:
            return msgspec.json.decode(self.body, type=list[kind])  # type: ignore[valid-type]
        except msgspec.DecodeError as error:
            raise Invalid(f"request body has an error: {error}") from error


class Reply:
    """An answer whose body is at hand.

    Args:
        status: HTTP status.
        body: The bytes to send.
        media_type: Content type of the body; "" sends none.
        headers: Further headers.
    """

    __slots__ = ("body", "headers", "media_type", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        media_type: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.status = status
        self.body = body
        self.media_type = media_type
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it; a HEAD request gets the headers alone."""
        head = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]
        if self.media_type:
            head.append((b"content-type", self.media_type.encode("latin-1")))
            head.append((b"x-content-type-options", b"nosniff"))
        if self.status not in (204, 304) and not any(name == b"content-length" for name, _ in head):
            head.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": head})
        body = b"" if scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})


def answer(status: int, value: Any, headers: Sequence[tuple[str, str]] = ()) -> Reply:
    """An answer with a JSON body."""
    return Reply(status, msgspec.json.encode(value), "application/json", headers)


def done(status: int = 204) -> Reply:
    """An answer without a body."""
    return Reply(status)


def failure(status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> Reply:
    """An answer that tells what went wrong, as lakeFS clients read it."""
    return answer(status, {"message": message}, headers)


def page(found: Page[Any], results: Sequence[Any]) -> Reply:
    """A page of a listing."""
    pagination = {
        "has_more": found.has_more,
        "next_offset": found.next_offset,
        "results": len(results),
        "max_per_page": MAX_PER_PAGE,
    }
    return answer(200, {"pagination": pagination, "results": results})
