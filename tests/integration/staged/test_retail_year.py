"""The retailer's year, replayed, captured and staged by the DAG: all rows have the hashes of the source's."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from include.demo.complete_journey import Slice
from include.demo.replay.engine import replay
from include.demo.replay.retail import RetailYear
from include.ingestion.batch import Desk
from include.ingestion.cdc import capture, confirm
from include.ingestion.held_changes import changes_held
from include.lake import Lake, commit_draft, merge_draft, open_draft
from include.lake.objects import list_objects
from include.settings import Settings
from include.sources.retail import SOURCE, TRANSACTIONS
from include.stack.java import java_home
from include.stack.lake_server import LakeAccess
from include.stack.postgres import PostgresAccess
from tests.integration.cdc.capturing import PASSED
from tests.integration.dag_runs.conftest import Driver, driving, environment
from tests.integration.staged.staging import hashes, plain, stored

__all__ = ["environment"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

YEAR = RetailYear(Slice(households=12))


@pytest.fixture(scope="session")
def settings(
    postgres: PostgresAccess, lake_server_local: LakeAccess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Of a live shop of its own and an empty lake."""
    name, home = f"staged_{uuid4().hex[:12]}", tmp_path_factory.mktemp("staged") / "home"
    home.mkdir(mode=0o700)
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER retail_live").format(sql.Identifier(name)))
        yield Settings(
            home=home,
            lakefs_endpoint=lake_server_local.endpoint,
            lakefs_access_key_id=lake_server_local.access_key_id,
            lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
            lake_repository=f"lake-{uuid4().hex[:12]}",
            lake_storage_namespace=f"local://lake/{uuid4().hex}",
            retail_live_dsn=SecretStr(postgres.dsn("retail_live", name)),
            java_home=str(java_home(home)),
        )
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
            (name,),
        )
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def run(settings: Settings, environment: dict[str, str]) -> Iterator[Driver]:
    Path(environment["AIRFLOW_HOME"]).mkdir()
    with driving(environment, settings.home.parent / "driver.log") as driver:
        yield driver


def live(settings: Settings, lake: Lake, until: datetime) -> None:
    """The shop lives on, and main has its changes."""
    replay(settings.retail_live_dsn.get_secret_value(), YEAR, until=until)
    draft = open_draft(lake, uuid4().hex, "cdc", restart=True)
    assert capture(Desk(lake, settings, draft, SOURCE)).rows
    commit_draft(lake, draft, "Capture", {}, PASSED)
    merge_draft(lake, draft)
    confirm(lake, settings, SOURCE)


def held_lines(lake: Lake) -> set[tuple[int, int]]:
    """Lines of baskets with a change that broke a rule: of these the lake has an earlier version, or none."""
    rows = (json.loads(one["row"]) for one in changes_held(lake, lake.head(), SOURCE, TRANSACTIONS))
    return {(row["basket_id"], row["product_id"]) for row in rows}


def of_source(settings: Settings, table: str, held: set[tuple[int, int]]) -> tuple[int, str]:
    with psycopg.connect(settings.retail_live_dsn.get_secret_value(), row_factory=dict_row) as connection:
        query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
        return hashes(without(held, table, connection.execute(query).fetchall()))


def of_lake(lake: Lake, table: str, held: set[tuple[int, int]]) -> tuple[int, str]:
    prefix = f"staged/retail/{table}"
    # A table that has been empty all along has no log, and so none of these.
    there = stored(lake, prefix) if any(list_objects(lake, lake.head(), prefix)) else []
    return hashes(without(held, table, plain(there)))


def without(held: set[tuple[int, int]], table: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if table != TRANSACTIONS.name:
        return rows
    return [row for row in rows if (row["basket_id"], row["product_id"]) not in held]


def test_the_dag_stages_the_year_as_it_goes_by(settings, run):
    lake = Lake.prepare(settings)
    assert SOURCE.capture is not None
    counts: list[dict[str, int]] = []
    held: set[tuple[int, int]] = set()
    for until in (datetime(2017, 3, 1), datetime(2017, 8, 1)):
        live(settings, lake, until)
        done = run("stage_tables__retail")
        assert (done.state, done.tasks["publish"]) == ("success", "success"), done.tasks
        held = held_lines(lake)
        staged = {table: of_lake(lake, table, held) for table in SOURCE.capture.tables}
        assert staged == {table: of_source(settings, table, held) for table in SOURCE.capture.tables}
        counts.append({table: count for table, (count, _) in staged.items()})
    assert 0 < len(held) < counts[1]["transactions"] / 20, "lines without a unit"
    assert counts[0]["transactions"] < counts[1]["transactions"]
    assert all(counts[1].values()), counts
    history = stored(lake, "staged/retail/transactions__history")
    assert any(row["_to_lsn"] for row in history), "a line was corrected, or taken back"
    again = run("stage_tables__retail")
    assert (again.tasks["gate"], again.tasks["publish"]) == ("success", "skipped")
