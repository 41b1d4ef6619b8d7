"""A REST API on a real server: pages, authentication, speed, what is new of it; and APIs that misbehave."""

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydantic import SecretStr

from include.ingestion.connectors import http_session
from include.ingestion.connectors.http_session import RestError, RestRefused
from include.ingestion.connectors.rest import Api
from include.ingestion.contracts import ContractError
from include.ingestion.spans import Asked
from include.spec.http import ApiKey, Bearer, Login, NextLink, NextToken, Offsets, PageNumbers, SinglePage
from include.spec.reads import Backfill, Incremental, RestApi
from include.spec.source import Column, Source, Table

pytestmark = pytest.mark.integration

COLUMNS = (
    Column(name="station", type="string"),
    Column(name="at", type="timestamptz"),
    Column(name="celsius", type="decimal(6,2)", nullable=True),
)
PAGED = PageNumbers(size_parameter="size", size=4)


class Weather:
    """An API; `answer` gives status, headers and body for a path and its query."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.rows: list[dict[str, Any]] = [
            {
                "station": f"s{number % 3}",
                "at": f"2013-01-{1 + number:02d}T06:00:00Z",
                "celsius": number + 0.25,
            }
            for number in range(10)
        ]
        self.answer: Callable[[str, dict[str, str]], tuple[int, dict[str, str], bytes]] = self.page
        self.url = ""

    def page(self, _path: str, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        size = int(query.get("size", 4))
        start = int(query["offset"]) if "offset" in query else (int(query.get("page", 1)) - 1) * size
        chosen = [
            row
            for row in self.rows
            if query.get("since", "") <= row["at"] and row["at"] < query.get("until", "9")
        ]
        body = {"data": {"rows": chosen[start : start + size]}, "total": len(chosen)}
        return 200, {}, json.dumps(body).encode()


@pytest.fixture
def weather() -> Iterator[Weather]:
    api = Weather()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            api.asked.append((parts.path, query, dict(self.headers)))
            status, headers, body = api.answer(parts.path, query)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            while headers.get("Content-Length") == "" and not self.wfile.closed:
                try:
                    self.wfile.write(b" " * 65536)
                except OSError:
                    return

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    yield api
    server.shutdown()
    server.server_close()


def source(**fields: Any) -> Source:
    usual: dict[str, Any] = {"records": "data.rows", "paging": PAGED}
    read = RestApi(url="weather_api_url", path="v1/weather", **usual | fields)
    table = Table(name="hourly", description="x", read=read, columns=COLUMNS, key=("station", "at"))
    return Source(name="weather", owner="w@example.com", description="x", tables=(table,))


def read(settings, weather: Weather, **fields) -> list[dict]:
    table = source(**fields).tables[0]
    here = settings.model_copy(update={"weather_api_url": weather.url})
    return [row for batch in Api(here, "weather").read(table) for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("paging", "requests"),
    [
        (PAGED, 4),
        (PageNumbers(first=1, size_parameter="size", size=5), 3),
        (Offsets(size=3, limit_parameter="size"), 5),
        (Offsets(size=5, limit_parameter="size", total="total"), 2),
    ],
)
def test_all_pages_are_read_once(settings, weather, paging, requests):
    found = read(settings, weather, paging=paging)
    assert sorted(str(row["celsius"]) for row in found) == sorted(f"{number}.25" for number in range(10))
    assert len(weather.asked) == requests


def test_pages_that_name_the_next_one(settings, weather):
    def by_token(_path, query):
        place = int(query.get("after", 0))
        body = {"rows": weather.rows[place : place + 4], "next": str(place + 4) if place + 4 < 10 else None}
        return 200, {}, json.dumps(body).encode()

    def by_link(_path, query):
        place = int(query.get("from", 0))
        link = f"/v1/weather?from={place + 4}" if place + 4 < 10 else None
        headers = {"Link": f'<{link}>; rel="next"'} if link else {}
        return 200, headers, json.dumps({"rows": weather.rows[place : place + 4], "next": link}).encode()

    weather.answer = by_token
    assert (
        len(read(settings, weather, records="rows", paging=NextToken(token="next", parameter="after"))) == 10
    )
    weather.answer = by_link
    assert len(read(settings, weather, records="rows", paging=NextLink(link="next"))) == 10
    assert len(read(settings, weather, records="rows", paging=NextLink())) == 10


def test_numbers_keep_their_digits_and_columns_their_places(settings, weather):
    body = b'[{"where": {"id": "s1"}, "at": "2013-01-01T00:00:00Z", "celsius": 1234.10}]'
    weather.answer = lambda *_: (200, {}, body)
    (row,) = read(settings, weather, records="", paging=SinglePage(), fields={"station": "where.id"})
    assert (row["station"], str(row["celsius"])) == ("s1", "1234.10")


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (Bearer(token="weather_token"), "Authorization", "Bearer s3cret"),
        (ApiKey(key="weather_token"), "X-API-Key", "s3cret"),
        (Login(username="weather_user", password="weather_token"), "Authorization", "Basic YWRhOnMzY3JldA=="),
    ],
)
def test_the_caller_says_who_it_is(settings, weather, auth, header, value):
    named = settings.model_copy(update={"weather_token": SecretStr("s3cret"), "weather_user": "ada"})
    read(named, weather, auth=auth)
    assert {headers[header] for _, _, headers in weather.asked} == {value}


def test_a_key_in_the_query_is_in_no_error(settings, weather):
    named = settings.model_copy(update={"weather_token": SecretStr("s3cret")})
    weather.answer = lambda *_: (403, {}, b"s3cret is wrong")
    with pytest.raises(RestRefused) as caught:
        read(named, weather, auth=ApiKey(key="weather_token", parameter="key", place="query"))
    assert weather.asked[0][1]["key"] == "s3cret"
    assert "403" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_busy_server_is_asked_again_and_never_faster_than_declared(settings, weather):
    busy = [(429, {"Retry-After": "0"}, b""), (503, {"Retry-After": "0"}, b"")]
    weather.answer = lambda path, query: busy.pop() if busy else weather.page(path, query)
    started = time.monotonic()
    assert len(read(settings, weather, requests_per_second=50.0)) == 10
    assert len(weather.asked) == 6
    assert time.monotonic() - started >= 5 / 50


def test_a_server_that_stays_down_is_one_error(settings, weather):
    weather.answer = lambda *_: (503, {"Retry-After": "0"}, b"")
    with pytest.raises(RestError, match=r"answers 503 Service Unavailable, 5 times"):
        read(settings, weather)


def bodies(weather, *answers):
    left = list(answers)
    weather.answer = lambda *_: left.pop(0) if len(left) > 1 else left[0]


def ok(body: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(body).encode()


ROW = {"station": "s1", "at": "2013-01-01T00:00:00Z", "celsius": 1}


@pytest.mark.parametrize(
    ("answers", "fields", "said"),
    [
        ([ok({"data": {"rows": [ROW]}})], {}, "gives page 2 again: its pages go round"),
        (
            [ok({"rows": [ROW], "next": "a"})],
            {"records": "rows", "paging": NextLink(link="next")},
            "go round",
        ),
        (
            [ok({"rows": [ROW], "next": "http://169.254.169.254/"})],
            {"records": "rows", "paging": NextLink(link="next")},
            "leads from 127.0.0.1",
        ),
        ([(302, {"Location": "http://10.0.0.1/"}, b"")], {}, "to http://10.0.0.1/"),
        ([(302, {"Location": "//evil.example/x"}, b"")], {}, "to http://evil.example/x"),
        ([(302, {"Location": "file:///etc/passwd"}, b"")], {}, "leads from"),
        ([(302, {"Location": "/v1/weather"}, b"")], {}, "redirects more than 5 times"),
        ([(200, {"Content-Length": ""}, b'{"data":')], {}, "and no end"),
        ([(200, {}, b"<html>")], {}, "what is no JSON"),
        ([(200, {}, b"[" * 100_000)], {}, "what is no JSON"),
        ([ok({"error": "no"})], {}, "has no list at 'data.rows'"),
        ([ok({"data": {"rows": {"a": 1}}})], {}, "has no list at 'data.rows'"),
        ([ok({"data": {"rows": ["a"]}})], {}, "page 1, row 1: is str"),
        ([ok({"data": {"rows": [ROW | {"celsius": "warm"}]}})], {}, "row 1: column 'celsius' holds 'warm'"),
        ([ok({"data": {"rows": [ROW | {"station": None}]}})], {}, "column 'station' has no value"),
        ([ok({"data": {"rows": [ROW | {"wind": 1}]}})], {}, "column 'wind' is not declared"),
        (
            [ok({"data": {"rows": [ROW]}})],
            {"paging": Offsets(size=1, total="total")},
            "does not say how its pages go on",
        ),
    ],
)
def test_an_api_that_misbehaves_is_one_clear_error(settings, weather, monkeypatch, answers, fields, said):
    monkeypatch.setattr(http_session, "LARGEST_BODY_BYTES", 2**20)
    bodies(weather, *answers)
    with pytest.raises(ContractError) as caught:
        read(settings, weather, **fields)
    assert said in str(caught.value)
    assert len(weather.asked) < 10


def test_paging_without_end_is_refused_by_number(settings, weather):
    counted = iter(range(10**6))
    weather.answer = lambda *_: ok(
        {"data": {"rows": [ROW | {"celsius": next(counted) % 1000}]}, "n": next(counted)}
    )
    with pytest.raises(ContractError, match="more than 20 pages"):
        read(settings, weather, max_pages=20)


NEW = {
    "incremental": Incremental(
        cursor="at", late_window=86_400, backfill=Backfill(start="2013-01-01", step="month")
    ),
    "since_parameter": "since",
    "until_parameter": "until",
}


def test_only_what_is_new_is_asked_for_and_late_and_repeated_rows_count_once(shelf, weather):
    here = shelf(weather_api_url=weather.url)
    table = source(**NEW)
    first = here.land(table)
    assert (first.rows, first.position.kind, first.position.value) == (10, "cursor", "2013-01-10T06:00:00Z")
    assert len(weather.asked) > 100, "a partition a month"
    weather.asked.clear()
    weather.rows[8]["celsius"] = 99
    weather.rows += [
        {"station": "s9", "at": "2013-01-09T12:00:00Z", "celsius": -1},
        {"station": "s9", "at": "2013-01-11T00:00:00Z", "celsius": -2},
        {"station": "s9", "at": "2013-01-11T00:00:00Z", "celsius": -2},
    ]
    second = here.land(table)
    assert {query["since"] for _, query, _ in weather.asked} == {"2013-01-09T06:00:00Z"}
    assert (second.rows, second.position.value) == (12, "2013-01-11T00:00:00Z")
    rows = here.rows(table)
    assert [(row["station"], row["at"]) for row in rows] == sorted(
        (row["station"], row["at"]) for row in rows
    )
    assert sorted(float(row["celsius"]) for row in rows)[-1] == 99.0
    assert here.land(table).changed is False
    content = here.content(table)
    assert here.land(table, Asked(everything=True)).changed is False
    assert here.content(table) == content, "the files follow from the rows alone"


def test_a_range_is_read_anew_with_what_was_deleted_in_it(shelf, weather):
    here = shelf(weather_api_url=weather.url)
    table = source(**NEW)
    here.land(table)
    del weather.rows[2:4]
    weather.rows[0]["celsius"] = 50
    assert here.land(table).changed is False
    landed = here.land(table, Asked(since="2013-01-03", until="2013-01-05"))
    assert landed.rows == 8
    assert landed.position.value == "2013-01-10T06:00:00Z"
    assert "50.00" not in {str(row["celsius"]) for row in here.rows(table)}, "outside of the range"
    assert here.land(table, Asked(everything=True)).rows == 8
    assert "50.00" in {str(row["celsius"]) for row in here.rows(table)}
