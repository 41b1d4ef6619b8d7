"""Every type: what the stream and the snapshot bring is what PostgreSQL itself says is in the table."""

import datetime as dt
import struct
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from include.ingestion.connectors.postgres_slot import create_publication, create_slot
from include.ingestion.connectors.postgres_snapshot import read_range, snapshot_ranges
from include.ingestion.pgoutput import UnsupportedType
from tests.integration.cdc.conftest import rows

pytestmark = pytest.mark.integration

UTC = dt.UTC
TEXT = "text"  # compared with the column's own text
NULL = None
# By type: the literals, and what must come of each: a value, TEXT, or `special` text beside NULL.
SPECIAL = object()
MORNING = dt.datetime(2024, 1, 1, tzinfo=UTC)
LONG = "1234567890123456789012345678.0123456789"
CASES: dict[str, dict[str, Any]] = {
    "boolean": {"true": True, "false": False},
    "smallint": {"-32768": -32768, "32767": 32767},
    "integer": {"-2147483648": -(2**31), "0": 0},
    "bigint": {"-9223372036854775808": -(2**63), "9223372036854775807": 2**63 - 1},
    "oid": {"4294967295": 2**32 - 1},
    "real": {"0.1": "float", "NaN": "float", "Infinity": "float", "-Infinity": "float", "3.4e38": "float"},
    "double precision": {
        "0.1": "float", "NaN": "float", "-Infinity": "float", "1e-308": "float",
        "1.7976931348623157e308": "float",
    },
    "numeric(10,2)": {"-12345678.90": Decimal("-12345678.90"), "0": Decimal("0.00"), "NaN": SPECIAL},
    "numeric(38,10)": {LONG: Decimal(LONG)},
    "numeric(3,-2)": {"12345": Decimal(12300)},
    "numeric(2,4)": {"0.0012": Decimal("0.0012")},
    "numeric(50,2)": {"1e47": TEXT, "NaN": TEXT},
    "numeric": {"1e100": TEXT, "0.000000000000000000000000000001": TEXT, "NaN": TEXT, "-Infinity": TEXT},
    "text": {"": "", "ä\u20ac\U0001f600\n\t\\": "ä\u20ac\U0001f600\n\t\\", "NULL": "NULL"},
    "varchar(5)": {"abc": "abc"},
    "char(5)": {"ab": "ab   "},
    "citext": {"AbC": "AbC"},
    "name": {"x": "x"},
    '"char"': {"q": "q"},
    "bytea": {"": b"", r"\x00ff10": b"\x00\xff\x10"},
    "date": {
        "2024-02-29": dt.date(2024, 2, 29), "0001-01-01": dt.date(1, 1, 1),
        "9999-12-31": dt.date(9999, 12, 31),
        "infinity": SPECIAL, "-infinity": SPECIAL, "0044-03-15 BC": SPECIAL, "10000-01-01": SPECIAL,
    },
    "timestamp": {
        "2024-02-29 12:34:56.789012": dt.datetime(2024, 2, 29, 12, 34, 56, 789012),
        "1969-12-31 23:59:59.5": dt.datetime(1969, 12, 31, 23, 59, 59, 500000),
        "infinity": SPECIAL, "0044-03-15 01:02:03 BC": SPECIAL, "294276-12-31 23:59:59.999999": SPECIAL,
    },
    "timestamptz": {
        "2024-02-29 12:34:56.7+05:30": dt.datetime(2024, 2, 29, 7, 4, 56, 700000, UTC),
        "1800-01-01 00:00:00+00": dt.datetime(1800, 1, 1, tzinfo=UTC),
        "-infinity": SPECIAL, "0044-03-15 01:02:03+00 BC": SPECIAL, "10000-01-01 00:00:00+00": SPECIAL,
    },
    "time": {"00:00:00": dt.time(0), "23:59:59.999999": dt.time(23, 59, 59, 999999), "24:00:00": SPECIAL},
    "timetz": {"12:34:56.7+02": TEXT},
    "interval": {"1 year 2 mons -3 days 04:05:06.7": "P1Y2M-3DT4H5M6.7S", "0": "PT0S"},
    "uuid": {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11": TEXT},
    "json": {'{"a":  [1, null]}': '{"a":  [1, null]}'},
    "jsonb": {'{"b":1,"a": "\\u00e4"}': TEXT},
    "inet": {"192.168.1.5": "192.168.1.5", "10.0.0.0/8": "10.0.0.0/8"},
    "mood": {"sad": "sad", "very 'happy'": "very 'happy'"},
    "price": {"12.5": Decimal("12.50"), "NaN": SPECIAL},
    "short_code": {"ab": "ab "},
    "pair": {'(1,"a b")': '(1,"a b")', "(,)": "(,)"},
    "int4range": {"[1,5)": "[1,5)", "empty": "empty"},
    "tstzrange": {"[2024-01-01 00:00:00+00,)": '["2024-01-01 00:00:00+00",)'},
    "int4multirange": {"{[1,3),[5,7)}": "{[1,3),[5,7)}"},
    "point": {"(1,2)": "(1,2)"},
    "bit(3)": {"101": "101"},
    "tsvector": {"fat cat": TEXT},
    "integer[]": {
        "{1,NULL,-3}": [1, None, -3], "{}": [], "{{1,2},{3,4}}": SPECIAL, "[0:1]={5,6}": SPECIAL,
    },
    "text[]": {
        '{a,"b c","d,e",NULL,"NULL","","q\\"u\\\\o","{x}"}': [
            "a", "b c", "d,e", None, "NULL", "", 'q"u\\o', "{x}",
        ],
        "{}": [], "{plain}": ["plain"], '{{"a"},{"b"}}': SPECIAL,
    },
    "numeric(6,2)[]": {"{1.5,NULL}": [Decimal("1.50"), None], "{NaN,1}": SPECIAL},
    "timestamptz[]": {'{"2024-01-01 00:00:00+00"}': [MORNING], "{infinity}": SPECIAL},
    "boolean[]": {"{t,f,NULL}": [True, False, None]},
    "bytea[]": {'{"\\\\x00ff"}': [b"\x00\xff"]},
    "uuid[]": {"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]},
    "mood[]": {"{sad,\"very 'happy'\"}": ["sad", "very 'happy'"]},
    "box[]": {"{(1,1),(0,0);(2,2),(0,0)}": TEXT},
}  # fmt: skip


@pytest.fixture
def typed(source):
    """A table of all types, a row for each literal; where it is not given it is NULL."""
    with psycopg.connect(source.superuser_dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION citext")
    source.execute("CREATE TYPE mood AS ENUM ('sad', 'very ''happy''')")
    source.execute("CREATE DOMAIN exact AS numeric(10,2)")
    source.execute("CREATE DOMAIN price AS exact CHECK (VALUE > 0)")
    source.execute("CREATE DOMAIN short_code AS char(3)")
    source.execute("CREATE TYPE pair AS (a int, b text)")
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(CASES))
    source.execute(f"CREATE TABLE typed (id text PRIMARY KEY, {columns})")
    # What a person may set must not reach what we read.
    database = source.connection.info.dbname
    for setting in ("datestyle = 'German'", "bytea_output = 'escape'", "timezone = 'Asia/Kolkata'"):
        source.execute(f"ALTER ROLE retail IN DATABASE {database} SET {setting}")
    create_publication(source.feed, [("public", "typed")])
    return source


def fill(source) -> None:
    for number, literals in enumerate(CASES.values()):
        for literal in literals:
            source.execute(
                f"INSERT INTO typed (id, c{number}) VALUES (%s, %s)", (f"{number} {literal}", literal)
            )


def check(source, changes) -> None:
    """Each value is what was expected, and what PostgreSQL says in psycopg's reading of the same row."""
    source.execute("SET intervalstyle = iso_8601")
    source.execute("SET datestyle = 'ISO, YMD'")
    source.execute("SET timezone = 'UTC'")
    seen = {change["row"]["id"]: change for change in changes}
    assert len(seen) == sum(len(literals) for literals in CASES.values()) == len(changes)
    for number, (kind, literals) in enumerate(CASES.items()):
        for literal, expected in literals.items():
            column, key = f"c{number}", f"{number} {literal}"
            row, special = seen[key]["row"], seen[key]["special"]
            where = "FROM typed WHERE id = %s"
            own = source.execute(f"SELECT format('%%s', {column}) {where}", (key,)).fetchone()[0]
            value = row[column]
            if expected is SPECIAL:
                assert (value, special) == (None, {f"row.{column}": own}), (kind, literal)
                continue
            assert special == {}, (kind, literal)
            if expected is TEXT or expected == TEXT:
                assert value == own, (kind, literal)
            elif expected == "float":
                told = source.execute(f"SELECT {column} {where}", (key,)).fetchone()[0]
                form = "f" if kind == "real" else "d"
                assert struct.pack(form, value) == struct.pack(form, told), (kind, literal)
            else:
                assert value == expected, (kind, literal)
                assert type(value) is type(expected), (kind, literal)
                if kind not in UNLIKE_PSYCOPG:
                    told = source.execute(f"SELECT {column} {where}", (key,)).fetchone()[0]
                    assert value == told, (kind, literal)
            others = [name for name in row if name not in ("id", column)]
            assert all(row[name] is None for name in others), (kind, literal)


# psycopg gives these as objects of its own, or not as the text that the column holds.
UNLIKE_PSYCOPG = {
    "interval",
    "json",
    "jsonb",
    "inet",
    "int4range",
    "tstzrange",
    "int4multirange",
    '"char"',
    "uuid[]",
    "mood[]",
}


def test_the_stream_brings_every_type(typed):
    typed.begin()
    fill(typed)
    check(typed, typed.changes())


def test_the_snapshot_brings_every_type_in_the_same_schema(typed):
    fill(typed)
    with create_slot(typed.feed) as slot, ThreadPoolExecutor(2) as workers:
        ranges = snapshot_ranges(typed.feed)
        batches = [
            batch
            for part in workers.map(lambda part: list(read_range(typed.feed, slot, part)), ranges)
            for batch in part
        ]
        typed.at = slot.position
    found = rows(batches)
    check(typed, found)
    assert {change["operation"] for change in found} == {"read"}
    assert {change["commit_lsn"] for change in found} == {slot.position.lsn}
    typed.execute("INSERT INTO typed (id) VALUES ('after')")
    (streamed,) = [batch for part in typed.read() for batch in part.changes]
    assert streamed.shape == batches[0].shape
    assert streamed.data.schema.equals(batches[0].data.schema, check_metadata=True)


@pytest.mark.parametrize("kind", ["money", "money[]", "cash"])
def test_money_is_refused_by_name(source, kind):
    source.execute("CREATE DOMAIN cash AS money")
    source.execute(f"CREATE TABLE paid (id int PRIMARY KEY, amount {kind})")
    source.publish("paid")
    source.execute("INSERT INTO paid VALUES (1, NULL)")
    for act in (source.read, lambda: snapshot_ranges(source.feed)):
        with pytest.raises(UnsupportedType, match=r"'amount' of public\.paid.*money.*Accepted: numeric"):
            act()
