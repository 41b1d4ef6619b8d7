"""Files that no landing should ever meet, and does: each with what is to be said of it."""

import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from include.spec.reads import Format

HEADER = "id,name,price,share,day,at\n"
GOOD = "1,apple,0.50,0.5,2026-01-31,2026-01-31 23:59:59\n"
NAMES = HEADER.strip().split(",")
_FORMATS: Mapping[str, Format] = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "xlsx": "excel"}


@dataclass(frozen=True)
class Bad:
    """A file.

    Args:
        title: What is wrong with it.
        name: Its name; tells the format.
        data: Makes its bytes.
        said: What the error says, beside the name of the file; a regular expression.
    """

    title: str
    name: str
    data: Callable[[], bytes]
    said: str

    @property
    def format(self) -> Format:
        """As a declaration calls it."""
        return _FORMATS[self.name.removesuffix(".gz").removesuffix(".zip").rpartition(".")[2]]


def csv(title: str, rows: str | bytes, said: str, header: str | bytes = HEADER) -> Bad:
    """A CSV file with these lines behind its header."""
    start = header if isinstance(header, bytes) else header.encode()
    rest = rows if isinstance(rows, bytes) else rows.encode()
    return Bad(title, "orders.csv", lambda: start + rest, said)


def row(**changed: str) -> str:
    """The good line, changed."""
    values = dict(zip(NAMES, GOOD.strip().split(","), strict=True)) | changed
    return ",".join(values.values()) + "\n"


def jsonl(title: str, said: str, line: str | bytes = "", **changed: object) -> Bad:
    """Two JSON lines: a good one, and this one."""
    good = {"id": 1, "name": "apple", "price": "0.50", "share": 0.5, "day": "2026-01-31"}
    good["at"] = "2026-01-31 23:59:59"
    last = line or json.dumps({**good, "id": 2, **changed})
    data = json.dumps(good).encode() + b"\n" + (last if isinstance(last, bytes) else last.encode()) + b"\n"
    return Bad(title, "orders.jsonl", lambda: data, said)


def good_table() -> pa.Table:
    """A good row as Arrow has it."""
    arrays = {
        "id": pa.array([1], pa.int32()),
        "name": pa.array(["apple"]),
        "price": pa.array(["0.50"]).cast(pa.decimal128(6, 2)),
        "share": pa.array([0.5]),
        "day": pa.array(["2026-01-31"]).cast(pa.date32()),
        "at": pa.array(["2026-01-31 23:59:59"]).cast(pa.timestamp("us")),
    }
    return pa.table(arrays)


def parquet(title: str, said: str, **changed: pa.Array) -> Bad:
    """A Parquet file with other columns."""

    def data() -> bytes:
        table = good_table()
        for name, array in changed.items():
            place = table.schema.get_field_index(name)
            table = table.append_column(name, array) if place < 0 else table.set_column(place, name, array)
        return written(table)

    return Bad(title, "orders.parquet", data, said)


def written(table: pa.Table) -> bytes:
    """The bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def broken(title: str, said: str, damage: Callable[[bytes], bytes], rows: int = 1) -> Bad:
    """A Parquet file that something happened to."""
    return Bad(
        title, "orders.parquet", lambda: damage(written(pa.concat_tables([good_table()] * rows))), said
    )


def packed(title: str, said: str, name: str, data: Callable[[], bytes]) -> Bad:
    """A file within a file."""
    return Bad(title, name, data, said)


def archive(members: dict[str, bytes], **options: int) -> bytes:
    """The bytes of an archive."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data, **options)
    return sink.getvalue()


def workbook(rows: Sequence[Sequence[object]]) -> bytes:
    """The bytes of a workbook with one sheet."""
    from openpyxl import Workbook

    book, sink = Workbook(), io.BytesIO()
    for values in rows:
        book.active.append(values)
    book.save(sink)
    return sink.getvalue()


def _noise(size: int) -> bytes:
    return random.Random(7).randbytes(size)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 16]) + data[middle + 16 :]


def _footer(length: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:-8] + struct.pack("<i", length) + data[-4:]


_BOMB = gzip.compress(HEADER.encode() + b"\n" * (200 * 2**20))

CSV = [
    csv("a NUL byte in a number", row(id="1\0"), "column 'id'"),
    csv("NUL bytes as a whole file", b"\0" * 4096, "", header=b""),
    csv("Latin-1", row(name="caf\xe9").encode("latin-1"), "UTF-?8"),
    csv("UTF-16", "", "", header=(HEADER + GOOD).encode("utf-16")),
    csv(
        "UTF-8 cut in the middle of a letter",
        GOOD.encode() + row(name="é").encode().replace(b"\xa9", b""),
        "",
    ),
    csv("a surrogate as bytes", row(name="x").encode().replace(b"x", b"\xed\xa0\x80"), "UTF-?8"),
    csv("a number that became a word", row(id="one"), "column 'id'"),
    csv("a whole number with a fraction", row(id="1.5"), "column 'id'"),
    csv("a number beyond its type", row(id="2147483648"), "column 'id'"),
    csv("a number with commas for thousands", row(price='"1,000.00"'), "column 'price'"),
    csv("more digits than declared", row(price="12345.67"), "column 'price'"),
    csv("more decimal places than declared", row(price="0.505"), "column 'price'"),
    csv("NaN in a decimal", row(price="NaN"), "column 'price'"),
    csv("infinity in a decimal", row(price="Infinity"), "column 'price'"),
    csv("a value that is missing", row(id=""), "id"),
    csv("a day that is none", row(day="2026-02-30"), "column 'day'"),
    csv("a day the other way round", row(day="31/01/2026"), "column 'day'"),
    csv("an infinite day", row(day="infinity"), "column 'day'"),
    csv("an hour that is none", row(at="2026-01-31 25:00:00"), "column 'at'"),
    csv("a time beyond all years", row(at="300000-01-01 00:00:00"), "column 'at'"),
    csv("a zone where none is declared", row(at="2026-01-31T10:00:00+05:00"), "column 'at'"),
    csv("seconds since 1970", row(at="1769903999"), "column 'at'"),
    csv("too many fields", GOOD.strip() + ",more\n", "6 columns"),
    csv("too few fields", "1,apple\n", "6 columns"),
    csv("a quote that never ends", row(name='"apple'), ""),
    csv("a column twice", GOOD, "twice|more than once|id", header="id,id,name,price,share,day,at\n"),
    csv("a column that is missing", "1,apple\n", "price", header="id,name\n"),
    csv("an undeclared column", GOOD.strip() + ",x\n", "colour", header=HEADER.strip() + ",colour\n"),
    csv(
        "5,000 columns", ",".join("1" * 5000) + "\n", "", header=",".join(f"c{n}" for n in range(5000)) + "\n"
    ),
    csv(
        "5,000 columns beside the declared",
        GOOD.strip() + ",1" * 5000 + "\n",
        "'c0'",
        header=HEADER.strip() + "".join(f",c{n}" for n in range(5000)) + "\n",
    ),
    csv("a header of many megabytes", "", "first line", header="x" * (3 * 2**20)),
    csv(
        "a name of a column with a line break",
        GOOD,
        "'name', .*is missing",
        header=HEADER.replace("name", '"na\nme"'),
    ),
    csv("a cell of 10 MB in a number", row(id="9" * 10_000_000), ""),
    csv(
        "SQL in the name of a column",
        GOOD,
        "'name' is missing",
        header=HEADER.replace("name", '"name; DROP TABLE x --"'),
    ),
    csv("the header again in the middle", GOOD + HEADER + GOOD, "column 'id'"),
    csv("an error page instead of data", "<body>502</body>\n", "", header="<html>\n"),
    csv("no byte at all", "", "", header=""),
]
JSONL = [
    jsonl("a number that became a text", "id", id="one"),
    jsonl("a text that became a number", "name", name=7),
    jsonl("a number beyond its type", "id", id=2**31),
    jsonl("a number beyond all types", "id", id=10**400),
    jsonl("a fraction in a whole number", "id", id=1.5),
    jsonl("a list in a number", "id", id=[1]),
    jsonl("null where a value must be", "id", id=None),
    jsonl("a day that is none", "day", day="2026-02-30"),
    jsonl("a line that ends early", "line 2", line='{"id": 2, "name": "pe'),
    jsonl("a name twice in one object", "line 2|twice", line='{"id": 2, "id": 3}'),
    jsonl("a list instead of an object", "line 2|object", line="[1, 2]"),
    jsonl("not UTF-8", "", line=b'{"id": 2, "name": "caf\xe9"}'),
    jsonl("objects within objects without end", "", line='{"id":' * 20_000),
    jsonl("an undeclared field", "colour", colour="red"),
]
PARQUET = [
    broken("a footer that is cut off", "", lambda data: data[:-20]),
    broken("the half of a file", "", lambda data: data[: len(data) // 2]),
    broken("a footer longer than the file", "", _footer(2**30)),
    broken("a footer of negative length", "", _footer(-5)),
    broken("bytes flipped in the footer", "", lambda data: _flipped(data)),
    broken("noise", "", lambda data: data[:4] + _noise(len(data) - 8) + data[-4:]),
    parquet("texts for numbers", "id", id=pa.array(["1"])),
    parquet("other decimals", "price", price=pa.array(["0.5000"]).cast(pa.decimal128(10, 4))),
    parquet("texts that are not UTF-8", "", name=pa.array([b"caf\xe9"]).view(pa.string())),
    parquet("a value that is missing", "id", id=pa.array([None], pa.int32())),
    parquet("a column that nobody declared", "colour", colour=pa.array(["red"])),
]
PACKED = [
    packed("a gzip bomb", "expands", "orders.csv.gz", lambda: _BOMB),
    packed(
        "a gzip file that is cut off",
        "",
        "orders.csv.gz",
        lambda: gzip.compress((HEADER + GOOD).encode())[:-9],
    ),
    packed("no gzip at all", "", "orders.csv.gz", lambda: (HEADER + GOOD).encode()),
    packed(
        "an archive that is a bomb",
        "expands",
        "orders.csv.zip",
        lambda: archive({"a.csv": gzip.decompress(_BOMB)}),
    ),
    packed("an archive without its directory", "", "orders.csv.zip", lambda: archive({"a.csv": b"id"})[:-30]),
    packed("no workbook at all", "", "orders.xlsx", lambda: b"PK\x03\x04" + _noise(200)),
    packed(
        "a workbook with a word for a number",
        "id",
        "orders.xlsx",
        lambda: workbook([NAMES, ["one", "a", 1, 1, None, None]]),
    ),
    packed(
        "an error of a formula for a number",
        "",
        "orders.xlsx",
        lambda: workbook([NAMES, ["#DIV/0!", "a", 1, 1, None, None]]),
    ),
]
EVERY = [*CSV, *JSONL, *PARQUET, *PACKED]
