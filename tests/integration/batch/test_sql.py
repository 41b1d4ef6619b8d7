"""Tables of databases through SQLAlchemy and ConnectorX, and by a cursor over ADBC."""

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from include.ingestion.connectors.postgres import DatabaseError
from include.ingestion.contracts import ContractError
from include.ingestion.spans import Asked
from include.spec.reads import Backfill, DatabaseTable, Incremental, SqlTable
from include.spec.source import Column, Source, Table
from include.stack.postgres import PostgresAccess

pytestmark = pytest.mark.integration

COLUMNS = (
    Column(name="id", type="int64"),
    Column(name="name", type="string", nullable=True),
    Column(name="price", type="decimal(10,2)"),
    Column(name="changed_at", type="timestamp"),
)
AT = datetime(2026, 1, 31, 12)
ROWS = [(2, None, Decimal("0.10"), AT), (1, "apple; DROP", Decimal("12345678.90"), AT)]
BY_CURSOR = Incremental(
    cursor="changed_at", late_window=3600, backfill=Backfill(start="2026-01-01", step="month")
)


def source(read: DatabaseTable | SqlTable) -> Source:
    table = Table(name="orders", description="x", read=read, columns=COLUMNS, key=("id",))
    return Source(name="shop", owner="s@example.com", description="x", tables=(table,))


def expected(rows) -> list[dict]:
    return [dict(zip([column.name for column in COLUMNS], row, strict=True)) for row in sorted(rows)]


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            'CREATE TABLE "Order Lines" (id INTEGER, name TEXT, price NUMERIC(10,2), changed_at TIMESTAMP)'
        )
        rows = [(key, name, str(price), str(at)) for key, name, price, at in ROWS]
        connection.executemany('INSERT INTO "Order Lines" VALUES (?, ?, ?, ?)', rows)
    return path


@pytest.fixture
def orders(postgres: PostgresAccess) -> Iterator[str]:
    """A database of PostgreSQL's with a table `orders`."""
    name = f"orders_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(postgres.dsn(database=name)) as connection:
        connection.execute(
            "CREATE TABLE orders (id bigint, name text, price numeric(10,2), changed_at timestamp)"
        )
        connection.cursor().executemany("INSERT INTO orders VALUES (%s, %s, %s, %s)", ROWS)
    yield postgres.dsn(database=name)
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_a_table_of_sqlite_is_published_as_it_is(shelf, sqlite):
    here = shelf(shop_url=SecretStr(f"sqlite:///{sqlite}"))
    table = source(SqlTable(url="shop_url", relation="Order Lines"))
    assert here.land(table).rows == 2
    assert here.rows(table) == expected(ROWS)
    assert here.land(table).changed is False


@pytest.mark.parametrize("driver", ["sqlalchemy", "connectorx"])
def test_a_table_of_postgresql_is_published_as_it_is(shelf, orders, driver):
    address = orders.replace("postgresql://", "postgresql+psycopg://")
    here = shelf(shop_url=SecretStr(address))
    table = source(SqlTable(url="shop_url", driver=driver))
    assert here.land(table).rows == 2
    assert here.rows(table) == expected(ROWS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('UPDATE "Order Lines" SET price = 0.125', "column 'price'"),
        ("UPDATE \"Order Lines\" SET changed_at = 'soon'", "cannot be read"),
        ("UPDATE \"Order Lines\" SET id = 'x'", "column 'id' holds 'x'"),
        ('ALTER TABLE "Order Lines" DROP COLUMN name', "column 'name' is missing"),
        ('ALTER TABLE "Order Lines" ADD COLUMN colour TEXT', "column 'colour' is not declared"),
        ('ALTER TABLE "Order Lines" RENAME TO other', "does not exist"),
    ],
)
def test_what_is_not_as_declared_is_one_error_and_main_stays(shelf, sqlite, change, said):
    here = shelf(shop_url=SecretStr(f"sqlite:///{sqlite}"))
    table = source(SqlTable(url="shop_url", relation="Order Lines"))
    here.land(table)
    before = here.lake.head()
    with sqlite3.connect(sqlite) as connection:
        connection.execute(change)
    with pytest.raises(ContractError) as caught:
        here.land(table)
    assert said in str(caught.value)
    assert here.lake.head() == before


@pytest.mark.parametrize(
    "address", ["nonsense", "mysql+nothing://u:s3cret@h/d", "postgresql+psycopg://u:s3cret@127.0.0.1:1/d"]
)
def test_a_database_that_cannot_be_reached_is_one_error_without_the_secret(shelf, address):
    here = shelf(shop_url=SecretStr(address))
    with pytest.raises(DatabaseError) as caught:
        here.land(source(SqlTable(url="shop_url")))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["database", "sql"])
def test_by_a_cursor_only_new_rows_are_read_and_the_files_are_those_of_a_full_read(shelf, orders, kind):
    address = orders if kind == "database" else orders.replace("postgresql://", "postgresql+psycopg://")
    here = shelf(orders_dsn=SecretStr(address), shop_url=SecretStr(address))
    read = (
        DatabaseTable(dsn="orders_dsn", incremental=BY_CURSOR)
        if kind == "database"
        else SqlTable(url="shop_url", incremental=BY_CURSOR)
    )
    table = source(read)
    assert here.land(table).position.value == "2026-01-31T12:00:00"
    with psycopg.connect(orders) as connection:
        connection.execute("UPDATE orders SET price = 9, changed_at = '2026-01-31 11:00' WHERE id = 2")
        connection.execute("INSERT INTO orders VALUES (0, 'late', 1, '2026-01-31 11:30')")
        connection.execute("INSERT INTO orders VALUES (7, 'too late', 1, '2026-01-31 10:59:59')")
        connection.execute("INSERT INTO orders VALUES (3, 'new', 1, '2026-02-01 00:00:00')")
    landed = here.land(table)
    assert (landed.rows, landed.position.value) == (4, "2026-02-01T00:00:00")
    found = {row["id"]: row for row in here.rows(table)}
    assert list(found) == [0, 1, 2, 3]
    assert found[2]["price"] == Decimal("0.10"), "of two rows of a key that of the highest cursor stays"
    whole = here.land(table, Asked(everything=True))
    assert whole.rows == 5
    assert here.rows(table)[2]["price"] == Decimal("9.00")
    content = here.content(table)
    assert here.land(table).changed is False
    assert here.content(table) == content


def test_many_parts_are_cut_the_same_however_they_came(shelf, orders, monkeypatch):
    from include.ingestion import merging, row_reads, snapshot

    monkeypatch.setattr(merging, "BATCH_ROWS", 100)
    written = snapshot.write_parts
    monkeypatch.setattr(row_reads, "write_parts", lambda *a, **k: written(*a, **k, part_rows=200))
    with psycopg.connect(orders) as connection:
        connection.execute(
            "INSERT INTO orders SELECT n, 'x', n, timestamp '2026-01-01' + n * interval '1 second' "
            "FROM generate_series(10, 1500) n"
        )
    here = shelf(orders_dsn=SecretStr(orders))
    table = source(DatabaseTable(dsn="orders_dsn", incremental=Incremental(cursor="changed_at")))
    assert here.land(table).files == 8
    with psycopg.connect(orders) as connection:
        connection.execute(
            "INSERT INTO orders SELECT n, 'new', n, timestamp '2026-03-01' FROM generate_series(1501, 1900) n"
        )
        connection.execute("UPDATE orders SET name = 'y', changed_at = '2026-03-02' WHERE id = 1234")
    landed = here.land(table)
    assert (landed.rows, landed.files) == (1893, 10)
    content = here.content(table)
    assert [row["id"] for row in here.rows(table)] == [1, 2, *range(10, 1901)]
    assert here.land(table, Asked(everything=True)).changed is False
    assert here.content(table) == content
