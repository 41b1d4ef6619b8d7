"""Reading real files, whole and broken, from a folder through fsspec."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.ingestion.connectors.files import FileStore
from include.ingestion.contracts import ContractError
from include.settings import Settings
from include.spec.reads import Files
from include.spec.source import Column, Table

HEADER = "id,name,price,week\n"
GOOD = HEADER + '1,apple,0.50,1\n2,"pear, ripe",1.25,1\n3,,0.00,2\n'


def a_table(form="csv", pattern="orders/*.csv.gz") -> Table:
    return Table(
        name="orders",
        description="One order.",
        read=Files(bucket="landing_bucket", pattern=pattern, format=form),
        columns=(
            Column(name="id", type="int32"),
            Column(name="name", type="string", nullable=True),
            Column(name="price", type="decimal(6,2)"),
            Column(name="week", type="int16"),
        ),
    )


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing" / "orders"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def store(tmp_path) -> FileStore:
    return FileStore(Settings(landing_bucket=f"file://{tmp_path}/landing", home=tmp_path), "landing_bucket")


def rows(store: FileStore, table: Table) -> list[dict]:
    assert isinstance(table.read, Files)
    return [
        row
        for file in store.matching(table.read)
        for batch in store.read(table, file)
        for row in batch.to_pylist()
    ]


def failure(store: FileStore, table: Table) -> str:
    with pytest.raises(ContractError) as caught:
        rows(store, table)
    return str(caught.value)


def drop(landing: Path, text: str, name="week_1.csv.gz") -> None:
    data = text.encode()
    (landing / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


@pytest.mark.parametrize("name", ["week_1.csv.gz", "week_1.csv"])
def test_csv_is_read_as_declared(store, landing, name):
    drop(landing, GOOD, name)
    read = rows(store, a_table(pattern="orders/*.csv*"))
    assert [(row["id"], row["name"], str(row["price"]), row["week"]) for row in read] == [
        (1, "apple", "0.50", 1),
        (2, "pear, ripe", "1.25", 1),
        (3, None, "0.00", 2),
    ]


def test_files_come_in_order_of_name_and_others_are_left_alone(store, landing):
    for name in ("week_2.csv.gz", "week_1.csv.gz", "readme.txt", "_done.json"):
        drop(landing, GOOD, name)
    found = store.matching(a_table().read)
    assert [file.path for file in found] == ["orders/week_1.csv.gz", "orders/week_2.csv.gz"]
    assert found[0].url.endswith("/landing/orders/week_1.csv.gz")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("orders/week_1.csv.gz", ["orders/week_1.csv.gz"]),
        ("orders/week_?.csv.gz", ["orders/week_1.csv.gz", "orders/week_2.csv.gz"]),
        ("orders/week_[2-9].csv.gz", ["orders/week_2.csv.gz"]),
        ("**/*.csv.gz", ["orders/old/week_0.csv.gz", "orders/week_1.csv.gz", "orders/week_2.csv.gz"]),
        ("orders/*/*.csv.gz", ["orders/old/week_0.csv.gz"]),
        ("orders/week.1.csv.gz", []),
        ("elsewhere/*.csv.gz", []),
    ],
)
def test_patterns(store, landing, pattern, found):
    (landing / "old").mkdir()
    for name in ("week_1.csv.gz", "week_2.csv.gz", "old/week_0.csv.gz"):
        drop(landing, GOOD, name)
    assert [file.path for file in store.matching(a_table(pattern=pattern).read)] == found


def test_the_version_of_a_file_follows_its_content(store, landing):
    drop(landing, GOOD)
    (before,) = store.matching(a_table().read)
    assert store.matching(a_table().read) == (before,)
    drop(landing, GOOD + "4,fig,1.00,2\n")
    (after,) = store.matching(a_table().read)
    assert after.version != before.version


def test_the_order_of_columns_in_a_file_is_free(store, landing):
    drop(landing, "week,price,id,name\n1,0.50,7,apple\n")
    assert rows(store, a_table())[0]["id"] == 7


def test_a_header_alone_is_a_file_without_rows(store, landing):
    drop(landing, HEADER)
    assert rows(store, a_table()) == []


def test_no_file_matches(store):
    assert store.matching(a_table().read) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            HEADER + "1,apple,0.50,1\nx,pear,1.25,1\n",
            ["column 'id'", "Row #2", "invalid value 'x'", "Accepted: int32"],
        ),
        (HEADER + "1,apple,0.50,99999\n", ["column 'week'", "Accepted: int16"]),
        (HEADER + "1,apple,0.505,1\n", ["column 'price'", "Accepted: decimal(6,2)"]),
        (HEADER + "1,apple,32768,1\n", ["column 'price'", "does not fit", "Accepted: decimal(6,2)"]),
        (HEADER + "1,apple,,1\n", ["column 'price'", "no value in 1 of 1 rows", "nullable=True"]),
        (HEADER + "1,apple,0.50\n", ["cannot be read", "Expected 4 columns, got 3"]),
        (
            "id,name,week\n1,apple,1\n",
            ["column 'price' is missing", "Accepted: 'id', 'name', 'price', 'week'"],
        ),
        (GOOD.replace("name", "id", 1), ["column 'name' is missing"]),
        ("id,name,price,week,colour\n1,a,1.00,1,red\n", ["column 'colour' is not declared"]),
        ("", ["column 'id', 'name', 'price', 'week' is missing"]),
    ],
)
def test_a_bad_csv_is_one_error_with_file_and_field(store, landing, text, said):
    drop(landing, text)
    error = failure(store, a_table())
    assert "/orders/week_1.csv.gz: " in error
    for words in said:
        assert words in error


def test_an_error_far_into_a_large_file_is_found(store, landing):
    lines = "".join(f"{number},apple,0.50,1\n" for number in range(600_000))
    drop(landing, HEADER + lines + "1,apple,cheap,1\n")
    error = failure(store, a_table())
    assert "column 'price'" in error
    assert "'cheap'" in error


@pytest.mark.parametrize("cut", [10, 40])
def test_a_truncated_gzip_is_refused(store, landing, cut):
    whole = gzip.compress(GOOD.encode())
    (landing / "week_1.csv.gz").write_bytes(whole[:cut])
    assert "week_1.csv.gz: " in failure(store, a_table())


def test_what_is_no_gzip_is_refused(store, landing):
    (landing / "week_1.csv.gz").write_text(GOOD)
    assert "week_1.csv.gz: cannot be read" in failure(store, a_table())


def test_text_in_another_encoding_is_refused(store, landing):
    (landing / "week_1.csv.gz").write_bytes(gzip.compress((HEADER + "1,Käse,0.50,1\n").encode("latin-1")))
    assert "UTF8" in failure(store, a_table())


def parquet(landing: Path, **changes) -> Path:
    columns = {
        "id": pa.array([1, 2], pa.int32()),
        "name": pa.array(["apple", None]).dictionary_encode(),
        "price": pa.array(["0.50", "1.25"]).cast(pa.decimal128(6, 2)),
        "week": pa.array([1, 1], pa.int16()),
    }
    path = landing / "week_1.parquet"
    pq.write_table(pa.table({**columns, **changes}), path)
    return path


PARQUET = a_table("parquet", "orders/*.parquet")


def test_parquet_is_read_as_declared(store, landing):
    parquet(landing)
    assert [(row["id"], row["name"]) for row in rows(store, PARQUET)] == [(1, "apple"), (2, None)]


def test_a_parquet_column_of_another_type_is_refused(store, landing):
    parquet(landing, id=pa.array(["1", "2"]))
    assert "column 'id' is string, declared is int32. Accepted: int32" in failure(store, PARQUET)


@pytest.mark.parametrize("keep", [0, 3, 200, -9])
def test_a_truncated_parquet_file_is_refused(store, landing, keep):
    path = parquet(landing)
    path.write_bytes(path.read_bytes()[:keep])
    error = failure(store, PARQUET)
    assert "week_1.parquet: cannot be read" in error
    assert "Accepted: Parquet" in error


def test_a_parquet_file_with_a_flipped_page_is_refused(store, landing):
    path = parquet(landing, name=pa.array([f"apple number {n}" for n in range(2)]))
    data = bytearray(path.read_bytes())
    data[4:80] = bytes(byte ^ 0xFF for byte in data[4:80])
    path.write_bytes(bytes(data))
    assert "week_1.parquet: " in failure(store, PARQUET)
