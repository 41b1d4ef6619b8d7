"""JSON APIs through dlt's REST client: pages, authentication, and rows within a span of a cursor."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from include.ingestion import contracts
from include.ingestion.connectors import rows
from include.ingestion.connectors.access import setting
from include.ingestion.spans import EVERYTHING, Span, cursor_text
from include.settings import Settings
from include.spec.http import ApiKey, Bearer, Login, NextLink, NextToken, Offsets, PageNumbers, Paging
from include.spec.reads import RestApi
from include.spec.source import Table

if TYPE_CHECKING:
    from dlt.sources.helpers.rest_client.paginators import BasePaginator
    from requests.auth import AuthBase


class Api:
    """What one API serves.

    Args:
        settings: Hold its address and the secrets.
        name: How errors call it.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings, self._name = settings, name

    def shown(self, table: Table) -> str:
        """Where the rows of a table come from, for people."""
        return f"API {self._name}, {_rest(table).path}"

    def read(self, table: Table, span: Span = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """The rows of all pages as they come, as declared; a row may come twice.

        Raises:
            ContractError: A row is not as declared, or the pages never end.
            RestRefused: A page leads to another host, has no end, or is not allowed.
            RestError: The API does not answer.
        """
        return rows.batches(table, self._rows(table, span))

    def _rows(self, table: Table, span: Span) -> Iterator[tuple[str, Mapping[str, Any]]]:
        from dlt.sources.helpers.rest_client.client import RESTClient

        from include.ingestion.connectors.http_session import OneHost

        read = _rest(table)
        url = setting(self._settings, read.url)
        with OneHost(url, read.requests_per_second) as session:
            client = RESTClient(f"{url.rstrip('/')}/", session=session)
            pages = client.paginate(
                read.path,
                params=_parameters(table, span),
                auth=_authentication(self._settings, read),
                paginator=_paginator(read.paging),
                data_selector=read.records or "$",
                hooks={"response": []},
            )
            yield from self._paged(table, read, pages)

    def _paged(
        self, table: Table, read: RestApi, pages: Iterator[Any]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        seen: set[bytes] = set()
        for number in itertools.count(1):
            try:
                page = next(pages, None)
            except ValueError as error:  # what a paginator misses in a body
                what = f"does not say how its pages go on: {str(error).split('.')[0]}"
                raise self._wrong(table, what, "the declared paging") from error
            if page is None:
                return
            if number > read.max_pages:
                raise self._wrong(
                    table, f"has more than {read.max_pages:,} pages", "fewer, or another max_pages"
                )
            found = self._found(table, read, page.response.json())
            digest = hashlib.sha256(page.response.content).digest()
            if found and digest in seen:
                raise self._wrong(table, f"gives page {number} again: its pages go round", "pages that end")
            seen.add(digest)
            where = f"{self.shown(table)}, page {number}"
            for place, row in enumerate(found, 1):
                yield f"{where}, row {place}", self._row(table, read, row, f"{where}, row {place}")

    def _found(self, table: Table, read: RestApi, body: Any) -> list[Any]:
        found = body
        for name in filter(None, read.records.split(".")):
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, list):
            place = f"no list at {read.records!r}" if read.records else "no list as its body"
            raise self._wrong(table, f"has {place}", "a list of objects")
        return found

    def _row(self, table: Table, read: RestApi, row: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(row, dict):
            raise contracts.violated(
                where, f"is {type(row).__name__}", accepted="an object with the columns", table=table.name
            )
        outer = {path.split(".")[0] for path in read.fields.values()}
        rows.check_fields(table, (name for name in row if name not in outer), where)
        taken = dict(row)
        for column, path in read.fields.items():
            value: Any = row
            for name in path.split("."):
                value = value.get(name) if isinstance(value, dict) else None
            taken[column] = value
        return taken

    def _wrong(self, table: Table, what: str, accepted: str) -> contracts.ContractError:
        return contracts.violated(self.shown(table), what, accepted=accepted, table=table.name)


def _rest(table: Table) -> RestApi:
    assert isinstance(table.read, RestApi)
    return table.read


def _parameters(table: Table, span: Span) -> dict[str, Any]:
    read = _rest(table)
    asked: dict[str, Any] = dict(read.parameters)
    if isinstance(read.paging, PageNumbers) and read.paging.size_parameter and read.paging.size:
        asked[read.paging.size_parameter] = read.paging.size
    if read.since_parameter is not None and span.since is not None:
        asked[read.since_parameter] = cursor_text(span.since)
    if read.until_parameter is not None and span.until is not None:
        asked[read.until_parameter] = cursor_text(span.until)
    return asked


def _paginator(paging: Paging) -> "BasePaginator":
    from dlt.sources.helpers.rest_client import paginators

    if isinstance(paging, PageNumbers):
        return paginators.PageNumberPaginator(
            base_page=paging.first,
            page_param=paging.parameter,
            total_path=paging.total or None,
            stop_after_empty_page=not paging.total,
        )
    if isinstance(paging, Offsets):
        return paginators.OffsetPaginator(
            limit=paging.size,
            offset_param=paging.offset_parameter,
            limit_param=paging.limit_parameter,
            total_path=paging.total or None,
            stop_after_empty_page=not paging.total,
        )
    if isinstance(paging, NextToken):
        return paginators.JSONResponseCursorPaginator(cursor_path=paging.token, cursor_param=paging.parameter)
    if isinstance(paging, NextLink):
        if paging.link:
            return paginators.JSONLinkPaginator(next_url_path=paging.link)
        return paginators.HeaderLinkPaginator()
    return paginators.SinglePagePaginator()


def _authentication(settings: Settings, read: RestApi) -> "AuthBase | None":
    from dlt.sources.helpers.rest_client import auth

    if isinstance(read.auth, Bearer):
        return auth.BearerTokenAuth(token=setting(settings, read.auth.token))
    if isinstance(read.auth, ApiKey):
        return auth.APIKeyAuth(
            name=read.auth.parameter, api_key=setting(settings, read.auth.key), location=read.auth.place
        )
    if isinstance(read.auth, Login):
        name, password = setting(settings, read.auth.username), setting(settings, read.auth.password)
        return auth.HttpBasicAuth(username=name, password=password)
    return None
