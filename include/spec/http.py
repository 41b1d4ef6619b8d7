"""How an HTTP API is read: how it pages, how a caller says who it is, and where a page has its rows."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from include.spec.declaration import Declaration, Name

# The name of a query parameter or of a header, as the API spells it.
ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-\[\]$]{1,100}$")]
# Names joined by dots, as in `data.items`; empty for the whole body.
BodyPath = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*)?$")]


class SinglePage(Declaration):
    """All rows come in one answer."""

    kind: Literal["single"] = "single"


class PageNumbers(Declaration):
    """Pages are asked for by number, until one is empty or the last was read.

    Args:
        parameter: Query parameter of the number.
        first: Number of the first page.
        size_parameter: Query parameter of how many rows a page has, where the API takes one.
        size: How many rows that is.
        total: Where the body says how many pages there are; empty: the first empty page is the end.
    """

    kind: Literal["page"] = "page"
    parameter: ParameterName = "page"
    first: int = Field(default=1, ge=0)
    size_parameter: ParameterName | None = None
    size: int | None = Field(default=None, ge=1)
    total: BodyPath = ""


class Offsets(Declaration):
    """Pages are asked for by how many rows to leave out, until one is empty.

    Args:
        size: Rows of a page.
        offset_parameter: Query parameter of how many rows to leave out.
        limit_parameter: Query parameter of the size.
        total: Where the body says how many rows there are; empty: the first empty page is the end.
    """

    kind: Literal["offset"] = "offset"
    size: int = Field(ge=1)
    offset_parameter: ParameterName = "offset"
    limit_parameter: ParameterName = "limit"
    total: BodyPath = ""


class NextToken(Declaration):
    """Each page has the token of the next one; the last has none.

    Args:
        token: Where the body has it.
        parameter: Query parameter that it is sent in.
    """

    kind: Literal["token"] = "token"
    token: BodyPath
    parameter: ParameterName


class NextLink(Declaration):
    """Each page has the address of the next one, in its body or in the `Link` header; it stays on the host.

    Args:
        link: Where the body has it; empty: in the header, as `rel="next"`.
    """

    kind: Literal["link"] = "link"
    link: BodyPath = ""


Paging = Annotated[SinglePage | PageNumbers | Offsets | NextToken | NextLink, Field(discriminator="kind")]


class Bearer(Declaration):
    """A token in the `Authorization` header.

    Args:
        token: Name of the field of `include.settings.Settings` that holds it.
    """

    kind: Literal["bearer"] = "bearer"
    token: Name


class ApiKey(Declaration):
    """A key in a header or in the query.

    Args:
        key: Name of the field of `include.settings.Settings` that holds it.
        parameter: Header or query parameter that it is sent in.
        place: Which of the two. What a query has ends up in logs of servers in between.
    """

    kind: Literal["key"] = "key"
    key: Name
    parameter: ParameterName = "X-API-Key"
    place: Literal["header", "query"] = "header"


class Login(Declaration):
    """A name and a password (HTTP basic authentication).

    Args:
        username: Name of the field of `include.settings.Settings` that holds the name.
        password: Name of the field that holds the password.
    """

    kind: Literal["login"] = "login"
    username: Name
    password: Name


Authentication = Annotated[Bearer | ApiKey | Login, Field(discriminator="kind")]
