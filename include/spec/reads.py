"""Where the rows of a table are read from: a database, files, or an API; and how much of it each time.

No secret is declared: a declaration names the field of `include.settings.Settings` that holds it.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from include.spec.declaration import Declaration, Name
from include.spec.http import Authentication, BodyPath, Paging, ParameterName, SinglePage

Text = Annotated[str, StringConstraints(min_length=1)]
Step = Literal["hour", "day", "week", "month", "year"]
Format = Literal["csv", "jsonl", "parquet", "excel"]


class Backfill(Declaration):
    """What is read whole is read in partitions of its cursor, so that no single read takes all of it.

    Args:
        start: Where the first partition begins: an ISO 8601 date or time, or a number as text.
        step: How long a partition is: a unit of time, or units of a number.
    """

    start: Text
    step: Step | Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _start_fits(self) -> "Backfill":
        if isinstance(self.step, int):
            int(self.start)
        else:
            datetime.fromisoformat(self.start)
        return self


class Incremental(Declaration):
    """Only rows whose cursor has moved on are read; of the rows of one key that of the highest cursor stays.

    Rows that the source deletes stay until a full refresh, or a backfill of the range that they were in.

    Args:
        cursor: Column that only grows when a row is written: a time of change, a number that counts up.
        late_window: How far below the highest cursor read so far the next read begins, because rows may
            arrive late: seconds of a timestamp, days of a date, units of a number.
        backfill: In which partitions the table is read whole; None: in one.
    """

    cursor: Name
    late_window: int = Field(default=0, ge=0)
    backfill: Backfill | None = None


class DatabaseTable(Declaration):
    """Read from a table of a PostgreSQL database; all tables of one database are read at one instant.

    Args:
        dsn: Name of the field of `include.settings.Settings` that holds the connection string.
        relation: Name of the table there; the lake's name of the table where it is left out.
        schema_name: Schema of the relation.
        incremental: How to read only what is new; None: the whole table each time.
    """

    kind: Literal["database"] = "database"
    dsn: Name
    relation: Name | None = None
    schema_name: Name = "public"
    incremental: Incremental | None = None

    @property
    def origin(self) -> str:
        """What is read together, in one transaction."""
        return self.dsn.removesuffix("_dsn")


class SqlTable(Declaration):
    """Read from a table of any database that SQLAlchemy or ConnectorX know; PostgreSQL is a `DatabaseTable`.

    Args:
        url: Name of the field of `include.settings.Settings` that holds SQLAlchemy's address of the database.
        relation: Name of the table there; the lake's name of the table where it is left out.
        schema_name: Schema of the relation; the connection's own where it is left out.
        driver: `sqlalchemy` reads all tables of a database in one transaction; `connectorx` is faster,
            and each table is then of an instant of its own.
        incremental: How to read only what is new; None: the whole table each time.
    """

    kind: Literal["sql"] = "sql"
    url: Name
    relation: Text | None = None
    schema_name: Text | None = None
    driver: Literal["sqlalchemy", "connectorx"] = "sqlalchemy"
    incremental: Incremental | None = None

    @property
    def origin(self) -> str:
        """What is read together."""
        return self.url.removesuffix("_url")


class Sftp(Declaration):
    """What it takes to read a folder over SFTP, beside its address `sftp://user@host:port/folder`.

    Args:
        host_key: Name of the field of `include.settings.Settings` that holds the only host key that is
            trusted, as `ssh-ed25519 AAAA...`.
        password: Name of the field that holds the password.
        private_key: Name of the field that holds the private key, as the text of an OpenSSH key file.
    """

    host_key: Name
    password: Name | None = None
    private_key: Name | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> "Sftp":
        if (self.password is None) == (self.private_key is None):
            raise ValueError("name either a password or a private_key")
        return self


class Files(Declaration):
    """Read from all files that match a pattern; each file keeps its own part in the lake.

    `.gz` in a file's name means gzip. `.zip` means an archive, whose members are read one after the other.

    Args:
        bucket: Name of the field of `include.settings.Settings` that holds where the files are: an S3
            bucket by its name, or an address `s3://...`, `file:///...` or `sftp://...`.
        pattern: Glob of the files within it.
        format: Of every matching file. CSV has a header line; JSON Lines has an object on each; Excel has its
            header in the first row.
        sheet: Of an Excel workbook; its first where it is left out.
        sftp: Keys, where the files are on an SFTP server.
    """

    kind: Literal["files"] = "files"
    bucket: Name
    pattern: Text
    format: Format
    sheet: Text | None = None
    sftp: Sftp | None = None

    @model_validator(mode="after")
    def _relative(self) -> "Files":
        if self.pattern.startswith("/") or "://" in self.pattern or ".." in self.pattern.split("/"):
            raise ValueError(f"pattern {self.pattern!r} must be relative to the bucket, without '..'")
        if self.sheet is not None and self.format != "excel":
            raise ValueError(f"sheet is of format 'excel' only, not {self.format!r}")
        return self

    @property
    def incremental(self) -> None:
        """Files are known by their content: one that did not change is not read again."""
        return None

    @property
    def origin(self) -> str:
        """What is read together: the folder of files."""
        return f"{self.bucket.removesuffix('_bucket')}/{self.pattern.split('*', 1)[0].rstrip('/')}"


class RestApi(Declaration):
    """Read page by page from a JSON API.

    Args:
        url: Name of the field of `include.settings.Settings` that holds the API's address; no page, redirect
            or link leads to another host.
        path: Of the resource below it.
        records: Where a page's body has its rows, as in `data.items`; empty: the body is the list.
        parameters: Query parameters of every request.
        paging: How the pages follow each other.
        auth: How the caller says who it is; None for an open API.
        fields: Where a row has a column, as in `location.name`, where it is not under the column's name.
        requests_per_second: Never asked faster than this; None: as fast as it answers.
        max_pages: More than this is taken for paging without end.
        incremental: How to read only what is new; None: everything each time.
        since_parameter: Query parameter of the lowest cursor wanted (inclusive); for an incremental read.
        until_parameter: Query parameter of the end of a backfill's partition (exclusive).
    """

    kind: Literal["rest"] = "rest"
    url: Name
    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_~][A-Za-z0-9_~.\-/]*$")]
    records: BodyPath = ""
    parameters: dict[ParameterName, str] = Field(default_factory=dict)
    paging: Paging = SinglePage()
    auth: Authentication | None = None
    fields: dict[Name, BodyPath] = Field(default_factory=dict)
    requests_per_second: float | None = Field(default=None, gt=0)
    max_pages: int = Field(default=100_000, ge=1)
    incremental: Incremental | None = None
    since_parameter: ParameterName | None = None
    until_parameter: ParameterName | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "RestApi":
        if ".." in self.path.split("/"):
            raise ValueError(f"path {self.path!r} must not hold '..'")
        if (self.incremental is None) != (self.since_parameter is None):
            raise ValueError("incremental and since_parameter need each other")
        if self.incremental is not None and self.incremental.backfill and self.until_parameter is None:
            raise ValueError("a backfill in partitions needs until_parameter")
        return self

    @property
    def origin(self) -> str:
        """What is read together: what one API serves."""
        return self.url.removesuffix("_url")


Read = Annotated[DatabaseTable | SqlTable | Files | RestApi, Field(discriminator="kind")]


def settings_named(read: DatabaseTable | SqlTable | Files | RestApi) -> dict[str, str]:
    """The fields of `include.settings.Settings` that a declaration names, by its own field."""
    if isinstance(read, DatabaseTable):
        return {"dsn": read.dsn}
    if isinstance(read, SqlTable):
        return {"url": read.url}
    if isinstance(read, Files):
        return {"bucket": read.bucket, **_named(read.sftp, "sftp")}
    return {"url": read.url, **_named(read.auth, "auth")}


def _named(keys: Declaration | None, under: str) -> dict[str, str]:
    secret = ("host_key", "password", "private_key", "token", "key", "username")
    fields = {name: getattr(keys, name, None) for name in secret}
    return {f"{under}.{name}": str(setting) for name, setting in fields.items() if setting is not None}
