"""The real defects of the retail data: lines of unknown products, and without a quantity, go apart."""

import json
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

import include.sources
from include.cli import app
from include.cli import quarantine as command
from include.demo import operational
from include.demo.complete_journey import Slice
from include.ingestion.batch import Desk, land, record_positions
from include.ingestion.quarantine import balance_metadata
from include.ingestion.release import rows_apart
from include.lake import Lake, checkout, publish
from include.settings import Settings
from include.sources.retail import PRODUCTS, TRANSACTIONS
from include.spec.source import Source
from include.spec.verdict import Verdict
from include.stack.lake_server import LakeAccess
from include.stack.postgres import PostgresAccess

pytestmark = pytest.mark.integration

PASSED = Verdict(True, "0" * 64, 1)
NO_QUANTITY = "SELECT count(*) FROM transactions WHERE quantity <= 0"
UNKNOWN = "SELECT count(*) FROM transactions WHERE product_id NOT IN (SELECT product_id FROM products)"
EITHER = UNKNOWN + " OR quantity <= 0"


SOURCE = Source(
    name="retail",
    owner="data@retailer.example",
    description="Two tables of the shop, as they are declared.",
    tables=(TRANSACTIONS, PRODUCTS),
)


@pytest.fixture(scope="module")
def dsn(postgres: PostgresAccess) -> str:
    name = f"shop_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" OWNER retail')
    operational.load(postgres.dsn("retail", name), Slice(households=120, weeks=1))
    return postgres.dsn("retail", name)


@pytest.fixture(scope="module")
def settings(dsn: str, lake_server_local: LakeAccess, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("home"),
        lakefs_endpoint=lake_server_local.endpoint,
        lakefs_access_key_id=lake_server_local.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"local://lake/{uuid4().hex}",
        retail_dsn=SecretStr(dsn),
    )


@pytest.fixture(scope="module")
def lake(settings: Settings) -> Lake:
    lake = Lake.prepare(settings)
    told: dict[str, str] = {}

    def write(draft) -> None:
        read = [land(Desk(lake, settings, draft, SOURCE), origin) for origin in SOURCE.origins]
        record_positions(lake, draft, read)
        told.update(balance_metadata(table for landing in read for table in landing.tables))

    publish(lake, "first", "ingest", write, lambda _draft: PASSED, "Ingest", told)
    return lake


@pytest.fixture
def run(settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch):
    """The command line on the test's lake."""
    monkeypatch.setattr(include.sources, "SOURCES", (SOURCE,))
    monkeypatch.setattr(command, "settings", lambda: settings)

    def called(*words: str) -> str:
        done = CliRunner().invoke(app, ["quarantine", *words])
        assert done.exit_code == 0, done.output
        return done.output

    return called


def count(dsn: str, query: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def held(lake: Lake) -> int:
    with checkout(lake, lake.head(), "raw/retail/transactions/snapshot") as files:
        return sum(stat.rows or 0 for stat in files.objects)


def test_each_defect_of_the_real_data_is_apart_and_all_else_is_published(lake, dsn):
    rows = rows_apart(lake, lake.head(), SOURCE, SOURCE.table("transactions"))
    broken = [row["rule"] for row in rows]
    assert 0 < count(dsn, UNKNOWN) == sum("references(product_id)" in rule for rule in broken)
    assert 0 < count(dsn, NO_QUANTITY) == sum("range(quantity)" in rule for rule in broken)
    assert len(rows) == count(dsn, EITHER)
    assert held(lake) + len(rows) == count(dsn, "SELECT count(*) FROM transactions")
    assert rows_apart(lake, lake.head(), SOURCE, PRODUCTS) == []


def test_the_commands_list_show_correct_and_release_them(run, lake, tmp_path: Path):
    before = held(lake)
    counts = [json.loads(line) for line in run("list", "--json").splitlines()]
    apart = sum(one["rows"] for one in counts)
    assert {one["table"] for one in counts} == {"transactions"}
    assert "range(quantity)" in run("list")
    shown = run("show", "retail", "transactions", "--rule", "references(product_id)", "--limit", "2")
    assert shown.count("product_id must be a value of products.product_id") == 2
    edited = tmp_path / "right.jsonl"
    listed = run("show", "retail", "transactions", "--rule", "range(quantity)", "--json", "--limit", "9999")
    rows = [json.loads(line) for line in listed.splitlines()]
    alone = {row["id"] for row in rows if row["rule"] == "range(quantity)"}
    lines = run("show", "retail", "transactions", "--corrections").splitlines()
    right = [one | {"quantity": 1} for one in map(json.loads, lines) if one["id"] in alone]
    edited.write_text("\n".join(map(json.dumps, right[:3])))
    told = ("--who", "ann@shop.example", "--why", "one of each")
    assert "Published as" in run("replay", "retail", "transactions", "--corrections", str(edited), *told)
    assert held(lake) == before + 3
    assert "have left quarantine already" in run(
        "replay", "retail", "transactions", "--corrections", str(edited), *told
    )
    run("release", "retail", "transactions", "--rule", "references(product_id)", *told)
    assert held(lake) > before + 3
    left = [json.loads(line)["rows"] for line in run("list", "--json").splitlines()]
    assert held(lake) + sum(left) == before + apart
    stays = held(lake)
    run("replay", "retail", "transactions")
    assert held(lake) == stays


def test_the_command_line_says_what_it_cannot_do(run, settings, tmp_path: Path):
    runner = CliRunner()
    for words, said in (
        (["show", "shop", "orders"], "There is no source 'shop'"),
        (["show", "retail", "orders"], "declares no table 'orders'"),
        (["release", "retail", "transactions", "--who", "a", "--why", "b"], "say which rows"),
        (["release", "retail", "transactions", "--row", "x", "--who", "a", "--why", "b"], "holds no row x"),
    ):
        done = runner.invoke(app, ["quarantine", *words])
        assert done.exit_code != 0
        assert said in done.output
    file = tmp_path / "wrong.jsonl"
    file.write_text('{"quantity": 1}\n')
    words = ["replay", "retail", "transactions", "--corrections", str(file), "--who", "a", "--why", "b"]
    done = runner.invoke(app, ["quarantine", *words])
    assert done.exit_code == 1
    assert "line 1: is no correction" in done.output
