"""The ASGI application: finds the handler, knows the caller, bounds the body, tells errors."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from include.stack.lakefs import unsupported
from include.stack.lakefs.call import Call, RangeNotSatisfiable, failure
from include.stack.lakefs.model import LakeError
from include.stack.lakefs.pools import Pools
from include.stack.lakefs.router import Lane, Route, Router
from include.stack.lakefs.routes import (
    actions,
    auth,
    branches,
    collection,
    commits,
    config,
    imports,
    objects,
    repositories,
    staging,
    transfer,
)
from include.stack.lakefs.service import Service
from include.stack.lakefs.upload import TooLarge, body_of

API = "/api/v1"
SUPPORTED: list[Route] = [
    *objects.ROUTES,
    *transfer.ROUTES,
    *staging.ROUTES,
    *commits.ROUTES,
    *branches.ROUTES,
    *repositories.ROUTES,
    *imports.ROUTES,
    *actions.ROUTES,
    *collection.ROUTES,
    *config.ROUTES,
    *auth.ROUTES,
]

log = logging.getLogger("headrace.lakefs")


class Api:
    """Everything below `/api/v1`.

    Args:
        service: The server's parts.
        pools: Where handlers run.
    """

    def __init__(self, service: Service, pools: Pools) -> None:
        self._service = service
        self._pools = pools
        self._router = Router([*SUPPORTED, *unsupported.ROUTES])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        reply: ASGIApp
        try:
            reply = await self._answer(scope, receive)
        except RangeNotSatisfiable as error:
            reply = failure(416, error.message, [("Content-Range", f"bytes */{error.size_bytes}")])
        except TooLarge as error:
            reply = failure(413, error.message, [("Connection", "close")])
        except LakeError as error:
            reply = failure(error.status, error.message)
        except Exception:
            # The last resort: the client learns that it was not at fault, the log learns the rest.
            log.exception("%s %s failed", scope["method"], scope["path"])
            reply = failure(500, "internal error; the log of the server has the details")
        await reply(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("latin-1").partition("?")[0].removeprefix(API)
        found = self._router.find(scope["method"], path)
        route = None if found is None else found.route
        user = "" if route is not None and route.open else self._identify(scope)
        if found is None:
            return failure(404, f"API endpoint not found: {scope['method']} {scope['path']}")
        if route is None:
            return failure(405, f"method {scope['method']} is not allowed here")
        call = Call(scope, receive, found.path, user)
        if route.lane is Lane.STREAM:
            streamed: ASGIApp = await route.handler(self._service, call, self._pools)
            return streamed
        call.body = await self._body(call)
        pool: Callable[..., object] = self._pools.slow if route.lane is Lane.SLOW else self._pools.quick
        answered: ASGIApp = await pool(route.handler, self._service, call)  # type: ignore[misc]
        return answered

    def _identify(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"authorization":
                return self._service.gatekeeper.identify(value.decode("latin-1"))
        return self._service.gatekeeper.identify("")

    async def _body(self, call: Call) -> bytes:
        limit = self._service.options.max_json_bytes
        length = call.headers.get("content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            raise TooLarge(f"body is larger than {limit} bytes")
        pieces = []
        size = 0
        async for piece in body_of(call):
            size += len(piece)
            if size > limit:
                raise TooLarge(f"body is larger than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)


def make_app(service: Service) -> Starlette:
    """The whole application: the API, the health check, and 404 for the rest."""
    pools = Pools()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        try:
            yield
        finally:
            pools.close()
            service.close()

    async def health(request: Request) -> Response:
        del request
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def not_found(request: Request, error: Exception) -> Response:
        del error
        body = failure(404, f"not found: {request.url.path}")
        return Response(body.body, 404, media_type="application/json")

    return Starlette(
        routes=[
            Mount(API, app=Api(service, pools)),
            StarletteRoute("/_health", health, methods=["GET"]),
        ],
        exception_handlers={404: not_found},
        lifespan=lifespan,
    )
