"""Which handler answers which method and path.

Paths are matched segment by segment before they are unquoted, so that a tag `a/b` or a ref `main^1`
fits into one segment, as the clients of lakeFS send it.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from include.stack.lakefs.model import Invalid

Handler = Callable[..., Any]


class Lane(enum.Enum):
    """Where a handler runs."""

    QUICK = "quick"
    """In the pool for what waits for the metadata store alone."""

    SLOW = "slow"
    """In the pool for what may wait for hooks, which may themselves call this server."""

    STREAM = "stream"
    """On the event loop: an async handler that reads or sends a body piece by piece."""


@dataclass(frozen=True)
class Route:
    """One operation.

    Args:
        method: HTTP method.
        path: Template below `/api/v1`, with `{name}` for parameters.
        handler: Takes (server, call) and returns a reply.
        lane: Where it runs.
        open: Whether it answers without credentials.
    """

    method: str
    path: str
    handler: Handler
    lane: Lane = Lane.QUICK
    open: bool = False


@dataclass(frozen=True)
class Found:
    """What a path leads to.

    Args:
        route: The route; None where the path exists but not the method.
        path: Values of the path parameters.
    """

    route: Route | None
    path: dict[str, str]


class Router:
    """All routes of a server.

    Args:
        routes: In any order; where two templates fit a path, the one with more literal segments wins.
    """

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        methods: dict[tuple[str, ...], dict[str, Route]] = {}
        for route in routes:
            template = tuple(route.path.strip("/").split("/"))
            known = methods.setdefault(template, {})
            if route.method in known:
                raise ValueError(f"two handlers for {route.method} {route.path}")
            known[route.method] = route
        self._by_length: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        for template in sorted(methods, key=_parameters):
            self._by_length.setdefault(len(template), []).append((template, methods[template]))

    def find(self, method: str, raw_path: str) -> Found | None:
        """Find the route of a request.

        Args:
            method: HTTP method.
            raw_path: Path below the root of the API, still percent-encoded.

        Returns:
            What it leads to; None where no template fits.

        Raises:
            Invalid: A segment is not valid UTF-8.
        """
        segments = raw_path.strip("/").split("/")
        fitting: Found | None = None
        for template, methods in self._by_length.get(len(segments), []):
            values = _match(template, segments)
            if values is None:
                continue
            if method in methods:
                return Found(methods[method], values)
            fitting = fitting or Found(None, values)
        return fitting


def _parameters(template: tuple[str, ...]) -> list[bool]:
    return [segment.startswith("{") for segment in template]


def _match(template: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected[0] != "{":
            if expected != segment:
                return None
        elif not segment:
            return None
        elif "%" in segment:
            try:
                values[expected[1:-1]] = unquote(segment, errors="strict")
            except UnicodeDecodeError as error:
                raise Invalid("path is not valid UTF-8") from error
        else:
            values[expected[1:-1]] = segment
    return values
