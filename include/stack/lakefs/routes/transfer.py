"""The bytes of objects through the server: get with ranges, head, and put."""

import asyncio
import re
import time
from email.utils import formatdate
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from include.stack.lakefs.blockstore.store import CHUNK_BYTES, Reader, Written, full_uri
from include.stack.lakefs.call import Call, RangeNotSatisfiable, Reply, answer
from include.stack.lakefs.model import (
    Entry,
    Gone,
    Invalid,
    LakeError,
    NotFound,
    PreconditionFailed,
    Repository,
)
from include.stack.lakefs.pools import Pools
from include.stack.lakefs.router import Lane, Route
from include.stack.lakefs.routes.objects import stats
from include.stack.lakefs.service import Service, uri_of
from include.stack.lakefs.upload import SPILL_BYTES, Content, Upload, check_size, content_of

RANGE = re.compile(r"bytes=(\d*)-(\d*)")
USER_METADATA = "x-lakefs-meta-"
INTERNAL_METADATA = "x-lakefs-internal-"


class Stream:
    """An answer whose body is read from the blockstore while it is sent.

    Args:
        head: Status and headers.
        reader: Where the bytes come from; closed at the end, however it ends.
        size: How many bytes there are.
        pools: Where reading waits.
    """

    def __init__(self, head: Reply, reader: Reader, size: int, pools: Pools) -> None:
        self.head = head
        self._reader = reader
        self._size = size
        self._pools = pools

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it, and stop where the client has gone."""
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.head.headers]
        gone = asyncio.ensure_future(_departure(receive))
        left = self._size
        try:
            await send({"type": "http.response.start", "status": self.head.status, "headers": headers})
            while left > 0 and not gone.done():
                data = await self._pools.quick(self._reader.read, min(CHUNK_BYTES, left))
                if not data:
                    raise ConnectionError("the blockstore has fewer bytes than the entry tells")
                left -= len(data)
                await send({"type": "http.response.body", "body": data, "more_body": left > 0})
        finally:
            gone.cancel()
            await self._pools.quick(self._reader.close)


async def _departure(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def get_object(service: Service, call: Call, pools: Pools) -> Reply | Stream:
    """GET /repositories/{repository}/refs/{ref}/objects."""
    return await pools.quick(_get_object, service, call, pools)


def _get_object(service: Service, call: Call, pools: Pools) -> Reply | Stream:
    repository, entry = _look_up(service, call)
    etag = f'"{entry.checksum}"'
    if call.headers.get("if-none-match") == etag:
        return Reply(304, headers=[("ETag", etag)])
    uri = uri_of(repository, entry)
    if call.flag("presign"):
        link, _ = service.blockstore.presign(uri)
        return Reply(302, headers=[("Location", link)])
    start, size, status = _span(call, entry)
    head = Reply(status, headers=_headers(entry, start, size, partial=status == 206))
    if size <= CHUNK_BYTES:
        head.body = service.blockstore.read(uri, start, size) if size else b""
        if len(head.body) != size:
            raise Gone("No data")
        return head
    return Stream(head, service.blockstore.open(uri, start, size), size, pools)


async def head_object(service: Service, call: Call, pools: Pools) -> Reply:
    """HEAD /repositories/{repository}/refs/{ref}/objects."""
    return await pools.quick(_head_object, service, call)


def _head_object(service: Service, call: Call) -> Reply:
    _, entry = _look_up(service, call)
    start, size, status = _span(call, entry)
    return Reply(status, headers=_headers(entry, start, size, partial=status == 206))


def _look_up(service: Service, call: Call) -> tuple[Repository, Entry]:
    path = call.required("path")
    repository = service.engine.get_repository(call.path["repository"])
    entry = service.engine.get_entry(repository.id, call.path["ref"], path)
    if service.engine.is_gone(repository.id, entry):
        raise Gone("resource expired")
    return repository, entry


def _span(call: Call, entry: Entry) -> tuple[int, int, int]:
    """Start, length and status of what the Range header asks for."""
    asked = call.headers.get("range")
    if not asked:
        return 0, entry.size_bytes, 200
    found = RANGE.fullmatch(asked.strip())
    if found is None or found.groups() == ("", ""):
        raise RangeNotSatisfiable(entry.size_bytes)
    first, last = found.groups()
    if not first:
        size = min(int(last), entry.size_bytes)
        start = entry.size_bytes - size
    else:
        start = int(first)
        end = min(int(last), entry.size_bytes - 1) if last else entry.size_bytes - 1
        size = end - start + 1
    if size <= 0 or start >= entry.size_bytes:
        raise RangeNotSatisfiable(entry.size_bytes)
    return start, size, 206


def _headers(entry: Entry, start: int, size: int, *, partial: bool) -> list[tuple[str, str]]:
    headers = [
        ("ETag", f'"{entry.checksum}"'),
        ("Last-Modified", formatdate(entry.mtime, usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", _latin(entry.content_type)),
        ("Content-Length", str(size)),
        ("Cache-Control", "no-store, must-revalidate"),
        ("Expires", "0"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "SAMEORIGIN"),
        ("Content-Security-Policy", "default-src 'none'"),
    ]
    if partial:
        headers.append(("Content-Range", f"bytes {start}-{start + size - 1}/{entry.size_bytes}"))
    return headers


def _latin(text: str) -> str:
    """A header value that a client chose, without what would end the header."""
    return quote(text, safe=" ;,=/+-._\"'()<>@:[]{}*!#$&^~`|")


async def put_object(service: Service, call: Call, pools: Pools) -> Reply:
    """POST /repositories/{repository}/branches/{branch}/objects: a raw body, or a form's `content`.

    Conditions and rules are checked before a large body is read, and once more with the write.
    """
    content = content_of(call)
    given = call.headers.get("content-length", "")
    length = int(given) if given.isdigit() else None
    if length is not None:
        check_size(length, service.options.max_object_bytes)
    if length is not None and length <= SPILL_BYTES:
        data = b"".join([piece async for piece in content.pieces()])
        return await pools.quick(_put_whole, service, call, content, data)
    plan = await pools.quick(_plan, service, call)
    upload = Upload(service.blockstore, plan.uri, service.options.max_object_bytes, pools)
    written = await upload.take(content)
    return await pools.quick(_stage, service, call, plan, content, written)


def _put_whole(service: Service, call: Call, content: Content, data: bytes) -> Reply:
    """Put a small object in one go, without changing threads in between."""
    plan = _plan(service, call)
    writer = service.blockstore.writer(plan.uri)
    try:
        writer.write(data)
        written = writer.finish()
    except BaseException:
        writer.abort()
        raise
    return _stage(service, call, plan, content, written)


class Plan:
    """What an upload will become.

    Args:
        repository: The repository.
        path: Path of the object.
        address: Address of its bytes, relative to the storage namespace.
        if_absent: Whether the path must be free.
        if_match: ETag that the path must have, None for any.
    """

    def __init__(
        self, repository: Repository, path: str, address: str, *, if_absent: bool, if_match: str | None
    ) -> None:
        self.repository = repository
        self.path = path
        self.address = address
        self.uri = full_uri(repository.storage_namespace, address)
        self.if_absent = if_absent
        self.if_match = if_match


def conditions(call: Call) -> tuple[bool, str | None]:
    """Whether the path must be free, and the ETag it must have.

    Raises:
        Invalid: An If-None-Match other than `*`, or both conditions.
    """
    none_match = call.headers.get("if-none-match")
    match = call.headers.get("if-match")
    if none_match is not None and none_match.strip('"') != "*":
        raise Invalid('Unsupported value for If-None-Match - Only "*" is supported')
    if none_match is not None and match is not None:
        raise Invalid("If-None-Match and If-Match exclude each other")
    return none_match is not None, None if match is None else match.strip('"')


def _plan(service: Service, call: Call) -> Plan:
    path = call.required("path")
    if_absent, if_match = conditions(call)
    branch = call.path["branch"]
    repository = service.engine.get_repository(call.path["repository"])
    service.engine.check_writable(repository.id, branch, force=call.flag("force"))
    if if_absent and _exists(service, repository.id, branch, path):
        raise PreconditionFailed("path already exists")
    return Plan(repository, path, service.addresses.new(), if_absent=if_absent, if_match=if_match)


def _exists(service: Service, repository: str, branch: str, path: str) -> bool:
    try:
        service.engine.get_entry(repository, branch, path)
    except NotFound:
        return False
    return True


def _stage(service: Service, call: Call, plan: Plan, content: Content, written: Written) -> Reply:
    entry = Entry(
        path=plan.path,
        physical_address=plan.address,
        checksum=written.checksum,
        size_bytes=written.size_bytes,
        mtime=int(time.time()),
        metadata=_user_metadata(call),
        content_type=content.content_type,
    )
    try:
        service.engine.stage(
            plan.repository.id,
            call.path["branch"],
            entry,
            if_absent=plan.if_absent,
            if_match=plan.if_match,
            force=call.flag("force"),
        )
    except LakeError as error:
        service.blockstore.delete([plan.uri])
        if isinstance(error, PreconditionFailed) and plan.if_absent:
            raise PreconditionFailed("path already exists") from error
        raise
    return answer(201, stats(plan.repository, entry))


def _user_metadata(call: Call) -> dict[str, str]:
    metadata = {}
    for name, value in call.headers.items():
        if name.startswith(USER_METADATA):
            metadata[name.removeprefix(USER_METADATA)] = value
        elif name.startswith(INTERNAL_METADATA):
            metadata["::lakefs::" + name.removeprefix(INTERNAL_METADATA)] = value
    return metadata


REF = "/repositories/{repository}/refs/{ref}/objects"
ROUTES = [
    Route("GET", REF, get_object, Lane.STREAM),
    Route("HEAD", REF, head_object, Lane.STREAM),
    Route("POST", "/repositories/{repository}/branches/{branch}/objects", put_object, Lane.STREAM),
]
