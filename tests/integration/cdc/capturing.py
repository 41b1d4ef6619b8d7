"""A source whose changes are captured to a lake, and what its change logs say when they are replayed."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
import pyarrow.parquet as pq

from include.ingestion.batch import Desk
from include.ingestion.cdc import capture, confirm
from include.lake import Lake, checkout, commit_draft, merge_draft, open_draft, read_watermark
from include.lake.objects import list_objects
from include.settings import Settings
from include.spec.capture import Capture
from include.spec.reads import DatabaseTable
from include.spec.refs import Captured, CommitRef, DraftRef, Position
from include.spec.source import Column, Source, Table
from include.spec.verdict import Verdict

PASSED = Verdict(True, "0" * 64, 1)
_READ = DatabaseTable(dsn="retail_dsn")

CUSTOMERS = Table(
    name="customers",
    description="One customer.",
    read=_READ,
    key=("id",),
    columns=(
        Column(name="id", type="int32"),
        Column(name="name", type="string", nullable=True),
        Column(name="story", type="string", nullable=True),
    ),
)
ORDERS = Table(
    name="orders",
    description="One order.",
    read=_READ,
    key=("id",),
    columns=(
        Column(name="id", type="int64"),
        Column(name="customer", type="int32", nullable=True),
        Column(name="amount", type="decimal(10,2)", nullable=True),
    ),
)
DDL = (
    "CREATE TABLE customers (id int PRIMARY KEY, name text, story text)",
    "ALTER TABLE customers ALTER story SET STORAGE EXTERNAL",
    "CREATE TABLE orders (id bigint PRIMARY KEY, customer int, amount numeric(10,2))",
)


def declared(tables: tuple[Table, ...] = (CUSTOMERS, ORDERS), **options: Any) -> Source:
    """The source as it is declared."""
    names = tuple(table.name for table in tables)
    fields = {"dsn": "retail_dsn", "tables": names, "publication": "headrace_shop", "slot": "headrace_shop"}
    return Source(
        name="shop",
        owner="data@shop.example",
        description="A shop.",
        tables=tables,
        capture=Capture(**{**fields, **options}),
    )


@dataclass
class Shop:
    """A database with a shop, a lake, and runs that capture the one into the other."""

    connection: psycopg.Connection[Any]
    lake: Lake
    settings: Settings
    source: Source = field(default_factory=declared)

    def execute(self, statement: str, parameters: Any = None) -> Any:
        return self.connection.execute(statement, parameters)

    def open(self, run_id: str | None = None) -> Desk:
        draft = open_draft(self.lake, run_id or uuid4().hex, "cdc", restart=True)
        return Desk(self.lake, self.settings, draft, self.source)

    def publish(self, draft: DraftRef) -> CommitRef:
        commit_draft(self.lake, draft, "Capture", {}, PASSED)
        return merge_draft(self.lake, draft).commit

    def run(self, run_id: str | None = None, **options: Any) -> Captured:
        """One whole run: capture, publish if there is anything, confirm."""
        confirm(self.lake, self.settings, self.source)
        desk = self.open(run_id)
        captured = capture(desk, **options)
        if captured.changed:
            self.publish(desk.draft)
        confirm(self.lake, self.settings, self.source)
        return captured

    def files(self, table: str, folder: str = "raw") -> list[str]:
        """Names of the files of a change log on main, in order."""
        prefix = f"{folder}/{self.source.name}/{table}/changes"
        paths = [stat.path for stat in list_objects(self.lake, self.lake.head(), prefix)]
        return [path.rpartition("/")[2] for path in paths if path.endswith(".parquet")]

    def changes(self, table: str, folder: str = "raw") -> list[dict[str, Any]]:
        """All changes of a table on main, in the order of the files and of their rows."""
        prefix, names = f"{folder}/{self.source.name}/{table}/changes", self.files(table, folder)
        if not names:
            return []
        with checkout(self.lake, self.lake.head(), prefix) as files:
            return [
                row for name in names for row in pq.read_table(files.path(f"{prefix}/{name}")).to_pylist()
            ]

    def replica(self, table: str) -> dict[Any, dict[str, Any]]:
        """The table as its change log on main says it is; strict, so that loss and repetition are found."""
        rows: dict[Any, dict[str, Any]] = {}
        last = (-1, -1)
        for change in self.changes(table):
            at = (change["commit_lsn"], -1 if change["sequence"] is None else change["sequence"])
            assert at > last or change["operation"] == "read", (at, last)
            last = at
            replay(rows, change)
        return rows

    def held(self, table: str) -> dict[Any, dict[str, Any]]:
        """The table as the source has it."""
        cursor = self.execute(f"SELECT * FROM {table}")
        names = [column.name for column in cursor.description]
        return {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}

    def positions(self) -> tuple[Position, ...]:
        """What main's watermark says."""
        watermark = read_watermark(self.lake, self.lake.head(), self.source.name)
        return watermark.positions if watermark else ()

    def declare(self, tables: tuple[Table, ...] = (CUSTOMERS, ORDERS), **options: Any) -> None:
        """Declare it otherwise."""
        self.source = declared(tables, **options)

    def check(self) -> None:
        """The lake has what the source has."""
        for table in self.source.tables:
            assert self.replica(table.name) == self.held(table.name), table.name


def replay(rows: dict[Any, dict[str, Any]], change: dict[str, Any]) -> None:
    """One change of a table whose key is `id`."""
    old, row = change["old"], change["row"]
    match change["operation"]:
        case "truncate":
            rows.clear()
        case "read" | "insert":
            assert row["id"] not in rows, change
            rows[row["id"]] = row
        case "update":
            before = rows.pop(old["id"] if old else row["id"])
            rows[row["id"]] = row | {name: before[name] for name in change["unchanged"]}
        case "delete":
            del rows[old["id"]]
        case operation:
            raise AssertionError(operation)
