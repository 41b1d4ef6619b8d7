"""The weather at New York's airports as a service of others would give it: JSON, page by page, by time."""

import socket
import sys
from bisect import bisect_left
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from include.demo import nycflights
from include.spec.errors import HeadraceError

LOOPBACK = "127.0.0.1"
PORT = 8090
_PAGE, _LONGEST_PAGE = 500, 2_000
_PLAIN = ("temp", "dewp", "humid", "precip", "pressure", "visib")
_WIND = {"direction": "wind_dir", "speed": "wind_speed", "gust": "wind_gust"}


class PortTakenError(HeadraceError):
    """Nothing can be served on a port."""


class BadQueryError(ValueError):
    """A parameter is not what it should be; the text says what is accepted."""


class Observations:
    """All observations by time and airport, and where each moment begins."""

    def __init__(self) -> None:
        table = nycflights.read("weather")
        seen_at = table.column("time_hour").cast(pa.timestamp("us", "UTC"))
        table = table.append_column("observed_at", seen_at)
        table = table.sort_by([("observed_at", "ascending"), ("origin", "ascending")])
        self._moments: list[datetime] = table.column("observed_at").to_pylist()
        self._rows = [_observation(row) for row in table.to_pylist()]

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """One page: `data`, and in `next` what to send as `after` for the page that follows.

        Args:
            query: `since` (inclusive) and `until` (exclusive) in ISO 8601, `origin`, `limit`, `after`.

        Raises:
            BadQueryError: One of them is not as it should be.
        """
        unknown = sorted(query.keys() - {"since", "until", "origin", "limit", "after"})
        if unknown:
            raise BadQueryError(f"unknown parameters: {', '.join(unknown)}")
        begin = bisect_left(self._moments, moment) if (moment := _moment(query, "since")) else 0
        end = bisect_left(self._moments, moment) if (moment := _moment(query, "until")) else len(self._rows)
        begin = max(begin, _whole(query, "after", 0, len(self._rows)))
        limit = _whole(query, "limit", 1, _LONGEST_PAGE) if "limit" in query else _PAGE
        data: list[dict[str, Any]] = []
        for place in range(begin, end):
            row = self._rows[place]
            if query.get("origin") not in (None, row["origin"]):
                continue
            if len(data) == limit:
                return {"data": data, "next": str(place)}
            data.append(row)
        return {"data": data, "next": None}


def make_app(observations: Observations) -> Any:
    """The service as an ASGI application: `/v1/observations`, and `/health`."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def page(request: Request) -> Response:
        try:
            return JSONResponse(observations.page(dict(request.query_params)))
        except BadQueryError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/v1/observations", page), Route("/health", health)])


def serve(port: int = PORT) -> None:
    """Serve on loopback until told to stop; port 0 takes a free one. The address is printed.

    Raises:
        PortTakenError: Something else listens there.
    """
    import uvicorn

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except OSError as error:
        listening.close()
        raise PortTakenError(
            f"Port {port} cannot be taken: {error.strerror}.",
            remedy="Give another with --port, and set HEADRACE_WEATHER_URL to its address.",
        ) from error
    config = uvicorn.Config(
        make_app(Observations()), ws="none", lifespan="off", log_level="warning", server_header=False
    )
    sys.stdout.write(f"weather: http://{LOOPBACK}:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listening])


def _observation(row: dict[str, Any]) -> dict[str, Any]:
    seen_at: datetime = row["observed_at"]
    wind = {name: row[column] for name, column in _WIND.items()}
    plain = {name: row[name] for name in _PLAIN}
    return {"origin": row["origin"], "observed_at": f"{seen_at:%Y-%m-%dT%H:%M:%SZ}", **plain, "wind": wind}


def _moment(query: dict[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        moment = datetime.fromisoformat(query[name])
    except ValueError:
        raise BadQueryError(f"{name} is {query[name]!r}, not an ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _whole(query: dict[str, str], name: str, low: int, high: int) -> int:
    text = query.get(name, str(low))
    if not text.isdecimal() or not low <= int(text) <= high:
        raise BadQueryError(f"{name} is {text!r}, not a whole number from {low} to {high}")
    return int(text)
