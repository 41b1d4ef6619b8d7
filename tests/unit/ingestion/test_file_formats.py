"""JSON Lines, Excel and archives, whole and broken, as a department would drop them into a folder."""

import gzip
import io
import json
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from openpyxl import Workbook

from include.ingestion.connectors.files import FileStore, FileStoreError
from include.ingestion.contracts import ContractError
from include.settings import Settings
from include.spec.reads import Files, Format
from include.spec.source import Column, Table

COLUMNS = (
    Column(name="id", type="int64"),
    Column(name="name", type="string", nullable=True),
    Column(name="price", type="decimal(8,2)", nullable=True),
    Column(name="day", type="date", nullable=True),
    Column(name="at", type="timestamptz", nullable=True),
)
EVENT = {"id": 1, "name": "apple", "price": 1.25, "day": "2026-01-31", "at": "2026-01-31T12:00:00Z"}


def a_table(form: Format, pattern: str, **fields) -> Table:
    read = Files(bucket="landing_bucket", pattern=pattern, format=form, sheet=fields.pop("sheet", None))
    return Table(name="events", description="One event.", read=read, columns=COLUMNS, **fields)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def rows(landing: Path, table: Table) -> list[dict]:
    store = FileStore(Settings(landing_bucket=f"file://{landing}", home=landing.parent), "landing_bucket")
    assert isinstance(table.read, Files)
    files = store.matching(table.read)
    return [row for file in files for batch in store.read(table, file) for row in batch.to_pylist()]


def failure(landing: Path, table: Table) -> str:
    with pytest.raises(ContractError) as caught:
        rows(landing, table)
    return str(caught.value)


def lines(*events: dict) -> bytes:
    return "".join(f"{json.dumps(event)}\n" for event in events).encode()


JSONL = a_table("jsonl", "*.jsonl*")


@pytest.mark.parametrize("packed", [False, True])
def test_json_lines_are_read_as_declared(landing, packed):
    data = lines(EVENT, {"id": 2})
    name = "events.jsonl.gz" if packed else "events.jsonl"
    (landing / name).write_bytes(gzip.compress(data) if packed else data)
    assert [tuple(row.values()) for row in rows(landing, JSONL)] == [
        (1, "apple", Decimal("1.25"), date(2026, 1, 31), datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (2, None, None, None, None),
    ]


def test_an_object_within_an_event_is_kept_as_its_json(landing):
    plain = [{"id": number, "name": "plain " * 20} for number in range(80_000)]
    nested = {"id": 80_000, "name": {"first": "Ada", "tags": [1, 2.50]}}
    (landing / "events.jsonl").write_bytes(lines(*plain, nested, {"id": 80_001}))
    read = rows(landing, JSONL)
    assert [row["id"] for row in read] == list(range(80_002))
    assert read[80_000]["name"] == '{"first":"Ada","tags":[1,"2.5"]}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"id": "1"}', ["line 2", "column 'id' holds '1': it is not a number", "Accepted: int64"]),
        (b'{"id": 1.5}', ["line 2", "not a whole number"]),
        (b'{"id": 9223372036854775808}', ["line 2", "it is not within"]),
        (b'{"id": true}', ["line 2", "it is not a number"]),
        (b'{"name": "x"}', ["line 2", "column 'id' has no value"]),
        (b'{"id": 1, "price": 0.125}', ["line 2", "more than 2 digits after the point"]),
        (b'{"id": 1, "price": NaN}', ["line 2", "column 'price'", "too many digits"]),
        (b'{"id": 1, "price": 12345678}', ["line 2", "too many digits"]),
        (b'{"id": 1, "day": "31.01.2026"}', ["line 2", "column 'day'", "Accepted: date"]),
        (b'{"id": 1, "at": 1769860800}', ["line 2", "column 'at'", "it is not a time"]),
        (b'{"id": 1, "at": "2026-01-31T12:00:00.1234567Z"}', ["line 2", "finer than a microsecond"]),
        (b'{"id": 1, "at": "99999-01-01T00:00:00Z"}', ["line 2", "column 'at'"]),
        (b'{"id": 1, "name": "\xff"}', ["line 2", "cannot be read", "utf-8"]),
        (b'{"id": 1, "name": "\\ud800"}', ["line 2", "column 'name'"]),
        (b'{"id": 1, "id": 2}', ["line 2", "twice"]),
        (b'{"id": 1, "colour": "red"}', ["line 2", "column 'colour' is not declared"]),
        (b"[1]", ["line 2", "holds list, not an object"]),
        (b'{"id": ', ["line 2", "cannot be read"]),
        (b"[" * 100_000, ["line 2", "cannot be read"]),
        (b"\x00\x00\x00", ["line 2", "cannot be read"]),
    ],
)
def test_a_bad_line_is_one_error_with_its_number(landing, line, said):
    (landing / "events.jsonl").write_bytes(lines(EVENT) + line + b"\n" + lines(EVENT))
    error = failure(landing, JSONL)
    assert "/events.jsonl, " in error
    for words in said:
        assert words in error


def test_undeclared_fields_stay_behind_where_the_table_says_so(landing):
    (landing / "events.jsonl").write_bytes(lines(EVENT, {"id": 2, "name": {"a": 1}, "colour": "red"}))
    read = rows(landing, a_table("jsonl", "*.jsonl", undeclared_columns="ignore"))
    assert [row["id"] for row in read] == [1, 2]
    assert "colour" not in read[1]


def workbook(landing: Path, *sheets: tuple[str, list]) -> None:
    book = Workbook()
    book.remove(book.active)
    for title, cells in sheets:
        sheet = book.create_sheet(title)
        for row in cells:
            sheet.append(row)
    book.save(landing / "book.xlsx")


HEADER = ["id", "name", "price", "day", "at"]
EXCEL = a_table("excel", "*.xlsx", sheet="Sales")


def test_a_sheet_is_read_as_declared(landing):
    apple = [1, "apple", 1.1, date(2026, 1, 31), datetime(2026, 1, 31, 12)]
    sales = [HEADER, apple, [None] * 5, [2, None, 0.1 + 0.2], [3, "fig", 4]]
    workbook(landing, ("Notes", [["to whom it may concern"]]), ("Sales", sales))
    read = rows(landing, EXCEL)
    assert [(row["id"], row["name"], row["price"]) for row in read] == [
        (1, "apple", Decimal("1.10")),
        (2, None, Decimal("0.30")),
        (3, "fig", Decimal("4.00")),
    ]
    assert (read[0]["day"], read[0]["at"]) == (date(2026, 1, 31), datetime(2026, 1, 31, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("sheets", "said"),
    [
        ([("Sales", [HEADER, [1], ["two"]])], ["sheet 'Sales', row 3", "column 'id' holds 'two'"]),
        ([("Sales", [HEADER, [1, 7]])], ["row 2", "column 'name' holds 7: it is not a text"]),
        ([("Sales", [HEADER[1:], ["x"]])], ["column 'id' is missing"]),
        ([("Sales", [[*HEADER, "colour"], [1]])], ["column 'colour' is not declared"]),
        ([("Other", [HEADER])], ["has no sheet 'Sales'", "Accepted: 'Other'"]),
        ([("Sales", [])], ["is missing"]),
    ],
)
def test_a_bad_workbook_is_one_error_with_sheet_and_row(landing, sheets, said):
    workbook(landing, *sheets)
    error = failure(landing, EXCEL)
    assert "book.xlsx" in error
    for words in said:
        assert words in error


def test_what_is_no_workbook_is_refused(landing):
    (landing / "book.xlsx").write_bytes(b"id,name\n1,apple\n")
    assert "book.xlsx: cannot be read" in failure(landing, EXCEL)


def packed(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return file.getvalue()


ZIPPED = a_table("jsonl", "*.zip")


def test_all_members_of_an_archive_are_read_in_order_of_name(landing):
    (landing / "a.zip").write_bytes(
        packed(**{"b.jsonl": lines({"id": 2}), "a.jsonl": lines({"id": 1, "name": {"a": 1}}), ".x": b"no"})
    )
    assert [(row["id"], row["name"]) for row in rows(landing, ZIPPED)] == [(1, '{"a":1}'), (2, None)]


def test_a_workbook_in_an_archive_is_read(landing):
    workbook(landing, ("Sales", [HEADER, [1]]))
    (landing / "a.zip").write_bytes(packed(**{"book.xlsx": (landing / "book.xlsx").read_bytes()}))
    assert [row["id"] for row in rows(landing, a_table("excel", "*.zip"))] == [1]


def test_an_error_names_the_member_of_an_archive(landing):
    (landing / "a.zip").write_bytes(packed(**{"a.jsonl": lines({"id": 1}), "b.jsonl": lines({"id": "x"})}))
    assert "a.zip!b.jsonl, line 1" in failure(landing, ZIPPED)


@pytest.mark.parametrize("keep", [0, 10, -30])
def test_a_truncated_archive_is_refused(landing, keep):
    (landing / "a.zip").write_bytes(packed(**{"a.jsonl": lines({"id": 1})})[:keep])
    assert "a.zip: cannot be read" in failure(landing, ZIPPED)


def test_a_member_whose_bytes_were_changed_is_refused(landing):
    data = bytearray(packed(**{"a.jsonl": lines(*[{"id": number} for number in range(1000)])}))
    data[60] ^= 0xFF
    (landing / "a.zip").write_bytes(bytes(data))
    assert "a.zip" in failure(landing, ZIPPED)


@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "bomb.zip"])
def test_a_bomb_is_refused_before_it_expands(landing, name):
    data = b'{"id": 1}\n' * 12_000_000
    (landing / name).write_bytes(gzip.compress(data, 9) if name.endswith(".gz") else packed(a=data))
    stored = (landing / name).stat().st_size
    assert len(data) > 64 * 2**20 + 100 * stored, "it would be let through"
    error = failure(landing, a_table("jsonl", "bomb*"))
    assert "it expands to more than" in error


def test_a_link_out_of_the_folder_is_refused(landing):
    secret = landing.parent / "secret.jsonl"
    secret.write_bytes(lines(EVENT))
    (landing / "link.jsonl").symlink_to(secret)
    assert "link to a file outside" in failure(landing, JSONL)


@pytest.mark.parametrize("address", ["http://127.0.0.1/x", "memory://x", "github://a:b@/x"])
def test_an_address_of_another_kind_is_refused(address, tmp_path):
    with pytest.raises(FileStoreError, match="Accepted: the name of an S3 bucket"):
        FileStore(Settings(landing_bucket=address, home=tmp_path), "landing_bucket")
