"""Landing on real servers: what arrives is what the source holds, once, and nothing where nothing changed."""

from dataclasses import replace

import psycopg
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from include.demo.landing import weekly_file
from include.ingestion.batch import land, record_positions
from include.ingestion.connectors import postgres as connector
from include.ingestion.connectors.files import FileStoreError
from include.ingestion.connectors.postgres import DatabaseError
from include.ingestion.contracts import ContractError, arrow_schema
from include.lake import checkout, commit_draft, merge_draft, read_watermark, refuse
from include.lake.objects import list_objects
from include.sources.retail import CAMPAIGNS, PRODUCTS, PROMOTIONS, SOURCE, TRANSACTIONS
from include.spec.refs import CommitRef
from include.spec.verdict import Verdict
from include.validation.draft import judge_draft
from include.validation.suite import load_suite, suite_hash

pytestmark = pytest.mark.integration

DATABASE, FILES = SOURCE.origins
PASSED = Verdict(True, suite_hash([load_suite("raw/retail/products")]), 1)
FOLDERS = {SOURCE.prefix(table.name): f"{SOURCE.prefix(table.name)}/snapshot" for table in SOURCE.tables}


def publish(desk, origins=SOURCE.origins):
    landings = [land(desk, origin) for origin in origins]
    record_positions(desk.lake, desk.draft, landings)
    commit_draft(desk.lake, desk.draft, "Ingest retail", {}, PASSED)
    return {table.table: table for landing in landings for table in landing.tables}, merge_draft(
        desk.lake, desk.draft
    )


def names(lake, ref, table):
    return [held.path.rpartition("/")[2] for held in list_objects(lake, ref, f"raw/retail/{table}/snapshot")]


def read(lake, ref, table):
    with checkout(lake, ref, f"raw/retail/{table}/snapshot") as files:
        parts = sorted(files.path(f"raw/retail/{table}/snapshot").glob("*.parquet"))
        assert parts
        return pq.ParquetDataset(parts).read()


# What keeps the rules of a table; the other rows go apart.
KNOWN = "product_id IN (SELECT product_id FROM products)"
KEPT = {"transactions": f"quantity > 0 AND {KNOWN}", "coupons": KNOWN}


def source_rows(dsn, table, condition):
    columns = ", ".join(column.name for column in SOURCE.table(table).columns)
    with psycopg.connect(dsn) as connection:
        return set(connection.execute(f"SELECT {columns} FROM {table} WHERE {condition}").fetchall())


def test_eight_tables_are_published_in_one_commit_as_the_source_holds_them(desk, lake, dsn):
    before = lake.head()
    landed, published = publish(desk("first"))
    assert set(landed) == set(FOLDERS)
    assert published.commit == lake.head() != before
    for table in SOURCE.tables_of(DATABASE):
        found = read(lake, published.commit, table.name)
        assert found.schema == arrow_schema(table)
        every = source_rows(dsn, table.name, "true")
        kept = source_rows(dsn, table.name, KEPT.get(table.name, "true"))
        assert {tuple(row.values()) for row in found.to_pylist()} == kept
        one = landed[f"raw/retail/{table.name}"]
        assert (one.rows, one.quarantined, one.rows_in) == (len(kept), len(every - kept), len(every))
        assert found.num_rows == one.rows
        assert (one.quarantined > 0) == (table.name in KEPT)
    promotions = read(lake, published.commit, "promotions")
    assert promotions.num_rows == 386_086 + 355_244
    assert promotions.schema == arrow_schema(PROMOTIONS)
    watermark = read_watermark(lake, published.commit, "retail")
    assert watermark is not None
    assert {position.table for position in watermark.positions} == {table.name for table in SOURCE.tables}
    files = {position.table: position for position in watermark.positions}["promotions"]
    assert (files.kind, files.value) == ("files", "retail/promotions/promotions_2017_week_02.csv.gz")


def test_landing_the_same_again_leaves_main_where_it_is(desk, lake):
    _, first = publish(desk("first"))
    landed, second = publish(desk("second"))
    assert [table for table, one in landed.items() if one.changed] == []
    assert not second.changed
    assert second.commit == first.commit == lake.head()


def test_a_change_in_one_table_replaces_its_snapshot_and_no_other(desk, lake, shop):
    _, first = publish(desk("first"))
    shop("UPDATE products SET brand = 'Private' WHERE product_id = (SELECT min(product_id) FROM products)")
    landed, second = publish(desk("second"))
    assert [table for table, one in landed.items() if one.changed] == ["raw/retail/products"]
    assert second.changed
    parts = [name for name in names(lake, second.commit, "products") if name.endswith(".parquet")]
    assert len(parts) == 1
    assert parts != [name for name in names(lake, first.commit, "products") if name.endswith(".parquet")]
    assert names(lake, second.commit, "coupons") == names(lake, first.commit, "coupons")
    assert read(lake, second.commit, "products").num_rows == read(lake, first.commit, "products").num_rows


def test_only_new_and_corrected_files_are_read_and_cleaned_ones_are_kept(desk, lake, settings, landed_files):
    _, first = publish(desk("first"), [FILES])
    folder, filesystem = f"{settings.landing_bucket}/retail/promotions", landed_files()
    week_1, week_2 = (f"{folder}/promotions_2017_week_{week:02d}.csv.gz" for week in (1, 2))
    rows = read(lake, first.commit, "promotions").slice(0, 3)
    filesystem.delete_file(week_1)
    put(filesystem, week_2, rows)
    put(filesystem, f"{folder}/promotions_2017_week_03.csv.gz", rows)
    landed, second = publish(desk("second"), [FILES])
    one = landed["raw/retail/promotions"]
    assert (one.files, one.rows, one.changed) == (3, 386_086 + 3 + 3, True)
    before, after = (set(names(lake, commit, "promotions")) for commit in (first.commit, second.commit))
    kept = {name for name in before & after if name.endswith(".parquet")}
    assert len(kept) == 1
    assert read(lake, second.commit, "promotions").num_rows == one.rows


def put(filesystem, path, rows):
    with filesystem.open_output_stream(path, compression=None) as stream:
        stream.write(weekly_file(rows))


def test_a_retry_leaves_nothing_of_the_attempt_that_died(desk, lake, tmp_path):
    from include.lake import upload

    at = desk("first")
    stray = tmp_path / "stray.parquet"
    pq.write_table(read_nothing(), stray)
    upload(lake, at.draft, {"stray.parquet": stray}, "raw/retail/campaigns/snapshot")
    _, published = publish(at)
    assert "stray.parquet" not in names(lake, published.commit, "campaigns")
    assert list((at.settings.home / "scratch").iterdir()) == []


def read_nothing():
    return arrow_schema(CAMPAIGNS).empty_table()


def test_tables_of_a_database_are_read_as_of_one_instant(dsn, shop):
    with connector.snapshot(dsn, "retail") as instant:
        before = sum(batch.num_rows for batch in instant.read(CAMPAIGNS))
        shop("DELETE FROM coupon_redemptions; DELETE FROM campaigns; DELETE FROM demographics")
        assert sum(batch.num_rows for batch in instant.read(CAMPAIGNS)) == before > 0
        assert sum(batch.num_rows for batch in instant.read(SOURCE.table("demographics"))) > 0
    with connector.snapshot(dsn, "retail") as later:
        assert sum(batch.num_rows for batch in later.read(CAMPAIGNS)) == 0


def test_rows_come_in_the_order_of_the_key_whatever_their_place_in_the_heap(dsn, shop):
    def order():
        with connector.snapshot(dsn, "retail") as instant:
            return [row for batch in instant.read(PRODUCTS) for row in batch.column("product_id").to_pylist()]

    before = order()
    assert before == sorted(before)
    shop("UPDATE products SET brand = brand WHERE product_id % 7 = 0")
    assert order() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE transactions DROP COLUMN week", "public.transactions: column 'week' is missing"),
        (
            "ALTER TABLE transactions ALTER COLUMN quantity TYPE bigint",
            "public.transactions: column 'quantity' is bigint, declared is int32. Accepted: integer",
        ),
        (
            "ALTER TABLE transactions ALTER COLUMN sales_value TYPE numeric(12,4)",
            "column 'sales_value' is numeric(12,4), declared is decimal(10,2). Accepted: numeric(10,2)",
        ),
        ("ALTER TABLE products ADD COLUMN colour text", "column 'colour' is not declared"),
        ("DROP TABLE demographics", "table public.demographics: does not exist"),
        ("TRUNCATE demographics", "raw/retail/demographics: holds no rows"),
        (
            "ALTER TABLE products ALTER COLUMN brand DROP NOT NULL; UPDATE products SET brand = NULL",
            "public.products: column 'brand' has no value in",
        ),
        (
            "UPDATE products SET product_id = product_id + 100000000",
            "rows break the contract (references(product_id): ",
        ),
    ],
)
def test_a_database_that_is_not_as_declared_is_one_error_and_main_stays(desk, lake, shop, change, said):
    before = lake.head()
    for statement in change.split("; "):
        shop(statement)
    with pytest.raises(ContractError) as caught:
        land(desk("first"), DATABASE)
    assert said in str(caught.value)
    assert "Nothing was published" in str(caught.value)
    assert lake.head() == before


def test_a_corrupt_file_among_good_ones_is_one_error_and_main_stays(desk, lake, settings, landed_files):
    before, filesystem = lake.head(), landed_files()
    path = f"{settings.landing_bucket}/retail/promotions/promotions_2017_week_02.csv.gz"
    with filesystem.open_input_stream(path, compression=None) as stream:
        data = stream.read()
    with filesystem.open_output_stream(path, compression=None) as stream:
        stream.write(data[: len(data) // 2])
    with pytest.raises(ContractError) as caught:
        land(desk("first"), FILES)
    assert str(caught.value).startswith(f"s3://{path}: cannot be read")
    assert lake.head() == before


def test_a_landing_bucket_without_files_is_one_error(desk, settings, landed_files):
    landed_files().delete_dir(f"{settings.landing_bucket}/retail/promotions")
    with pytest.raises(ContractError, match=r"retail/promotions/\*\.csv\.gz: matches no file"):
        land(desk("first"), FILES)


@pytest.mark.parametrize("wrong", ["password", "port"])
def test_a_database_that_cannot_be_reached_is_one_error_without_the_password(dsn, wrong):
    from urllib.parse import urlsplit

    parts = urlsplit(dsn)
    secret = "not-the-password" if wrong == "password" else parts.password
    port = 1 if wrong == "port" else parts.port
    with (
        pytest.raises(DatabaseError) as caught,
        connector.snapshot(f"postgresql://retail:{secret}@127.0.0.1:{port}/x", "retail"),
    ):
        pass
    said = str(caught.value)
    assert "Database retail could not be read" in said
    assert "HEADRACE_*_DSN" in said
    assert secret not in said


def test_the_gate_passes_the_real_data_and_keeps_its_evidence_with_it(desk, lake, settings):
    at = desk("first")
    for origin in SOURCE.origins:
        land(at, origin)
    verdict = judge_draft(lake, settings, at.draft, FOLDERS, evidence_prefix="raw/retail/_gate")
    assert verdict.passed
    assert verdict.checked == sum(len(load_suite(table).rules) for table in FOLDERS)
    assert all(finding.severity == "warn" for finding in verdict.findings)
    # Rows with a defect are apart; that some lines repeat others is found here, and does not refuse them.
    (found,) = verdict.findings
    assert found.table == "raw/retail/coupons"
    assert "4,872 lines repeat another" in found.rule
    commit_draft(lake, at.draft, "Ingest retail", {}, verdict)
    published = merge_draft(lake, at.draft)
    kept = [held.path for held in list_objects(lake, published.commit, "raw/retail/_gate")]
    assert kept == sorted(f"raw/retail/_gate/{table.name}.json" for table in SOURCE.tables)
    assert published.suite_hash == verdict.suite_hash


@pytest.mark.parametrize(
    ("change", "table", "rule"),
    [
        (
            "UPDATE campaign_descriptions SET campaign_type = 'Type X' WHERE campaign_id = 1",
            "campaign_descriptions",
            "campaign_type",
        ),
        (
            "UPDATE transactions SET transaction_timestamp = '2031-01-01' WHERE quantity = 2",
            "transactions",
            "timestamp",
        ),
        (
            "UPDATE coupon_redemptions SET redemption_date = redemption_date - 400 WHERE campaign_id < 20",
            "coupon_redemptions",
            "between the start and the end",
        ),
    ],
)
def test_a_planted_defect_is_refused_and_main_stays(desk, lake, settings, shop, change, table, rule):
    from include.lake.retention import refused

    before = lake.head()
    shop(change)
    at = desk("first")
    for origin in SOURCE.origins:
        land(at, origin)
    verdict = judge_draft(lake, settings, at.draft, FOLDERS)
    assert not verdict.passed
    broken = [finding for finding in verdict.findings if finding.severity == "fail"]
    assert any(finding.table == f"raw/retail/{table}" and rule in finding.rule for finding in broken), broken
    refuse(lake, at.draft, verdict)
    assert lake.head() == before
    assert [one.run_id for one in refused(lake)] == ["first"]


def test_losing_a_fifth_of_a_table_is_refused(desk, lake, settings, shop):
    publish(desk("first"))
    shop("DELETE FROM transactions WHERE basket_id % 5 = 0")
    at = desk("second")
    for origin in SOURCE.origins:
        land(at, origin)
    verdict = judge_draft(lake, settings, at.draft, FOLDERS)
    assert [finding.table for finding in verdict.findings if finding.severity == "fail"] == [
        "raw/retail/transactions"
    ]


def test_the_draft_holds_what_is_judged_and_main_does_not(desk, lake):
    at = desk("first")
    land(at, DATABASE)
    assert names(lake, at.draft, TRANSACTIONS.name)
    assert list(list_objects(lake, CommitRef(at.draft.repository, lake.head().commit), "raw")) == []


@pytest.mark.parametrize(
    "wrong", [{"s3_secret_access_key": "not-the-key"}, {"s3_endpoint": "http://127.0.0.1:1"}]
)
def test_a_store_that_does_not_answer_is_one_error_that_can_be_retried(desk, lake, settings, wrong):
    before = lake.head()
    changed = {key: SecretStr(value) if "secret" in key else value for key, value in wrong.items()}
    at = replace(desk("first"), settings=settings.model_copy(update=changed))
    with pytest.raises(FileStoreError) as caught:
        land(at, FILES)
    said = str(caught.value)
    assert "retail/promotions/*.csv.gz: the store did not give it" in said
    assert "HEADRACE_*" in said
    assert "not-the-key" not in said
    assert lake.head() == before
