"""Rows that break their contract, on a real lake: apart in the same commit, and back by a person's word."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from include.audit.auditor import _balance, _check_tables
from include.audit.lake_reader import LakeReader
from include.audit.result import Result
from include.ingestion import release as outward
from include.ingestion.batch import Desk, land, record_positions
from include.ingestion.contracts import ContractError
from include.ingestion.quarantine import BALANCE_KEY, balance_metadata, read_decisions
from include.ingestion.release import Choice, ReleaseError, rows_apart
from include.lake import Lake, checkout, open_draft, publish, read_watermark, remove
from include.lake.objects import list_objects
from include.settings import Settings
from include.spec.contract import Range, References
from include.spec.reads import Files
from include.spec.refs import Landed, Published
from include.spec.source import Column, Source, Table
from include.spec.verdict import Verdict
from include.stack.lake_server import LakeAccess

pytestmark = pytest.mark.integration

PASSED = Verdict(True, "0" * 64, 1)
ANN = ("ann@shop.example", "counted on the shelf")
ORDERS_HEADER = "order_id,product_id,quantity"


def orders(**changes: Any) -> Table:
    fields: dict[str, Any] = {
        "name": "orders",
        "description": "One order.",
        "read": Files(bucket="landing_bucket", pattern="shop/orders_*.csv", format="csv"),
        "key": ("order_id",),
        "columns": tuple(Column(name=name, type="int32") for name in ORDERS_HEADER.split(",")),
        "rules": (Range(column="quantity", minimum=1),),
        "on_violation": "quarantine",
        "quarantine_at_most": 0.9,
    } | changes
    return Table(**fields)


def a_source(*tables: Table) -> Source:
    return Source(name="shop", owner="a@b.example", description="A shop.", tables=tables or (orders(),))


SOURCE = a_source()


@pytest.fixture
def settings(lake_server_local: LakeAccess, tmp_path: Path) -> Settings:
    (tmp_path / "landing" / "shop").mkdir(parents=True)
    return Settings(
        home=tmp_path / "home",
        lakefs_endpoint=lake_server_local.endpoint,
        lakefs_access_key_id=lake_server_local.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"local://lake/{uuid4().hex}",
        landing_bucket=f"file://{tmp_path}/landing",
    )


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake.prepare(settings)


@pytest.fixture
def drop(tmp_path: Path) -> Callable[..., None]:
    def write(name: str, *lines: str, header: str = ORDERS_HEADER) -> None:
        (tmp_path / "landing" / "shop" / name).write_text("\n".join([header, *lines]) + "\n")

    return write


@pytest.fixture
def ingest(lake: Lake, settings: Settings) -> Callable[..., tuple[dict[str, Landed], Published]]:
    def run(source: Source = SOURCE, run_id: str = "") -> tuple[dict[str, Landed], Published]:
        landed: dict[str, Landed] = {}
        told: dict[str, str] = {}

        def write(draft) -> None:
            read = [land(Desk(lake, settings, draft, source), origin) for origin in source.origins]
            record_positions(lake, draft, read)
            landed.update({table.table: table for landing in read for table in landing.tables})
            told.update(balance_metadata(landed.values()))

        done = publish(lake, run_id or uuid4().hex, "ingest", write, lambda _draft: PASSED, "Ingest", told)
        assert isinstance(done, Published)
        return landed, done

    return run


@pytest.fixture
def take_out(lake: Lake, settings: Settings) -> Callable[..., Published]:
    def run(step: Callable[[Desk], Landed], run_id: str = "", source: Source = SOURCE) -> Published:
        told: dict[str, str] = {}

        def write(draft) -> None:
            told.update(balance_metadata([step(Desk(lake, settings, draft, source))]))

        run_id = run_id or uuid4().hex
        done = publish(lake, run_id, "quarantine", write, lambda _draft: PASSED, "Take out", told)
        assert isinstance(done, Published)
        return done

    return run


def published(lake: Lake, table: str = "orders") -> list[tuple[int, ...]]:
    folder = f"raw/shop/{table}/snapshot"
    with checkout(lake, lake.head(), folder) as files:
        parts = sorted(files.path(folder).glob("*.parquet"))
        return sorted(tuple(row.values()) for part in parts for row in pq.read_table(part).to_pylist())


def apart(lake: Lake, source: Source = SOURCE, table: str = "orders") -> list[dict[str, Any]]:
    return rows_apart(lake, lake.head(), source, source.table(table))


def paths(lake: Lake, prefix: str) -> list[str]:
    return [held.path.removeprefix(f"{prefix}/") for held in list_objects(lake, lake.head(), prefix)]


def test_rows_that_break_the_contract_are_apart_in_the_commit_that_publishes_the_others(drop, ingest, lake):
    drop("orders_1.csv", "1,10,5", "2,10,0", "3,10,7")
    drop("orders_2.csv", "4,10,many", "5,10,1")
    landed, done = ingest()
    assert published(lake) == [(1, 10, 5), (3, 10, 7), (5, 10, 1)]
    rows = apart(lake)
    assert [(row["origin"], row["row_number"], row["rule"]) for row in rows] == [
        ("shop/orders_1.csv", 2, "range(quantity)"),
        ("shop/orders_2.csv", 1, "type(quantity)"),
    ]
    assert [json.loads(row["row"])["quantity"] for row in rows] == [0, "many"]
    one = landed["raw/shop/orders"]
    assert (one.rows_in, one.rows, one.quarantined) == (5, 3, 2)
    commit = lake.api.commits_api.get_commit(lake.repository, done.commit.commit)
    assert json.loads(commit.metadata[BALANCE_KEY]) == {
        "raw/shop/orders": {"in": 5, "published": 3, "quarantined": 2}
    }


def test_the_same_again_changes_nothing_and_files_are_kept_with_what_is_apart_of_them(drop, ingest, lake):
    drop("orders_1.csv", "1,10,5", "2,10,0")
    ingest()
    first = lake.head()
    assert not ingest()[1].changed
    drop("orders_2.csv", "3,10,-1", "4,10,1")
    landed, done = ingest()
    assert done.changed
    assert (landed["raw/shop/orders"].rows_in, landed["raw/shop/orders"].quarantined) == (4, 2)
    assert len([path for path in paths(lake, "quarantine/shop/orders") if path.endswith(".parquet")]) == 2
    assert lake.head() != first


def test_a_source_that_was_mended_leaves_no_quarantine(drop, ingest, lake):
    drop("orders_1.csv", "1,10,5", "2,10,0")
    ingest()
    assert paths(lake, "quarantine/shop/orders") != []
    drop("orders_1.csv", "1,10,5", "2,10,3")
    ingest()
    assert published(lake) == [(1, 10, 5), (2, 10, 3)]
    assert paths(lake, "quarantine/shop") == []


def test_too_many_bad_rows_refuse_the_landing_and_so_does_none_that_is_good(drop, ingest, lake):
    drop("orders_1.csv", *(f"{number},10,0" for number in range(9)), "9,10,1")
    before = lake.head()
    with pytest.raises(ContractError, match=r"9 of 10 rows break the contract \(range\(quantity\): 9\)"):
        ingest(a_source(orders(quarantine_at_most=0.5)))
    drop("orders_1.csv", "1,10,0")
    with pytest.raises(ContractError, match="holds no rows"):
        ingest(a_source(orders(quarantine_at_most=1.0)))
    assert lake.head() == before


def test_released_rows_are_published_where_they_stood_and_stay_so(drop, ingest, take_out, lake):
    drop("orders_1.csv", "1,10,5", "2,10,0", "3,10,-1", "4,10,1")
    ingest()
    zero = next(row for row in apart(lake) if json.loads(row["row"])["quantity"] == 0)
    take_out(lambda desk: outward.release(desk, SOURCE.table("orders"), Choice(*ANN, (zero["id"],))))
    assert published(lake) == [(1, 10, 5), (2, 10, 0), (4, 10, 1)]
    assert [json.loads(row["row"])["quantity"] for row in apart(lake)] == [-1]
    (decision,) = read_decisions(lake, lake.head(), "shop", "orders").values()
    assert (decision.action, decision.who, decision.why) == ("accept", *ANN)
    assert not ingest()[1].changed
    drop("orders_1.csv", "1,10,5", "2,10,0", "3,10,-1", "4,10,1", "5,10,1")
    ingest()
    assert (2, 10, 0) in published(lake)
    assert [row["row_number"] for row in apart(lake)] == [3]


def test_what_cannot_be_taken_as_it_is_or_is_not_there_is_refused(drop, ingest, take_out, lake):
    drop("orders_1.csv", "1,10,5", "2,10,many")
    ingest()
    (row,) = apart(lake)
    before = lake.head()
    table = SOURCE.table("orders")
    for choice, said in (
        (Choice(*ANN, (row["id"],)), "1 of 1 rows cannot be taken as they are: quantity is 'many', no int32"),
        (Choice(*ANN, ("nosuchrow",)), "holds no rows nosuchrow"),
        (Choice(*ANN, (), "range(quantity)"), "holds no such rows"),
    ):
        with pytest.raises(ReleaseError, match=said):
            take_out(lambda desk, choice=choice: outward.release(desk, table, choice))
    for values, said in (
        ({"quantity": 0}, "1 of 1 rows break the contract still"),
        ({"amount": 1}, "names 'amount'"),
    ):
        with pytest.raises(ReleaseError, match=said):
            take_out(lambda desk, v=values: outward.correct(desk, table, {row["id"]: v}, Choice(*ANN)))
    assert lake.head() == before


def test_correcting_and_replaying_gives_the_very_rows_of_clean_input(drop, ingest, take_out, lake):
    drop("orders_1.csv", "1,10,5", "2,10,many", "3,10,-1", "4,10", "5,10,2")
    drop("orders_2.csv", "6,10,1")
    ingest()
    right = {2: {"quantity": 2}, 3: {"quantity": 3}, 4: {"order_id": 4, "product_id": 10, "quantity": 4}}
    corrections = {row["id"]: right[row["row_number"]] for row in apart(lake)}
    take_out(lambda desk: outward.correct(desk, SOURCE.table("orders"), corrections, Choice(*ANN)))
    assert paths(lake, "quarantine/shop/orders") == []
    folder = "raw/shop/orders/snapshot"
    with checkout(lake, lake.head(), folder) as files:
        parts = sorted(files.path(folder).glob("*.parquet"))
        found = [row["order_id"] for part in parts for row in pq.read_table(part).to_pylist()]
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert [1, 2, 3, 4, 5] in (found[:5], found[1:])
    drop("orders_1.csv", "1,10,5", "2,10,2", "3,10,3", "4,10,4", "5,10,2")
    held = published(lake)
    ingest()
    assert published(lake) == held
    watermark = read_watermark(lake, lake.head(), "shop")
    assert watermark is not None
    assert [(one.kind, one.value) for one in watermark.positions] == [("files", "shop/orders_2.csv")]


def test_a_contract_that_was_mended_lets_rows_pass_and_one_that_was_tightened_takes_them_out(
    drop, ingest, take_out, lake, tmp_path
):
    drop("orders_1.csv", "1,10,5", "2,10,0", "3,10,-1")
    ingest()
    (tmp_path / "landing" / "shop" / "orders_1.csv").unlink()  # the lake holds all that it needs
    wider = a_source(orders(rules=(Range(column="quantity", minimum=0),)))
    take_out(lambda desk: outward.replay(desk, wider.table("orders")), source=wider)
    assert published(lake) == [(1, 10, 5), (2, 10, 0)]
    narrow = a_source(orders(rules=(Range(column="quantity", minimum=1),)))
    take_out(lambda desk: outward.replay(desk, narrow.table("orders")), source=narrow)
    assert published(lake) == [(1, 10, 5)]
    assert [row["row_number"] for row in apart(lake)] == [2, 3]


def test_rows_of_a_file_that_is_gone_outlive_a_new_rule_wherever_they_are(drop, ingest, lake, tmp_path):
    drop("orders_1.csv", "1,10,5", "2,10,0")
    drop("orders_2.csv", "3,10,0")
    drop("orders_3.csv", "4,10,9")
    ingest()
    for name in ("orders_1.csv", "orders_2.csv"):
        (tmp_path / "landing" / "shop" / name).unlink()
    ingest()
    assert published(lake) == [(1, 10, 5), (4, 10, 9)]
    assert len(apart(lake)) == 2
    ruled = a_source(orders(rules=(Range(column="quantity", minimum=0, maximum=8),)))
    landed, _ = ingest(ruled)
    assert published(lake) == [(1, 10, 5), (2, 10, 0), (3, 10, 0)]
    assert [row["rule"] for row in apart(lake, ruled)] == ["range(quantity)"]
    assert landed["raw/shop/orders"].rows_in == 4


def audited(settings: Settings) -> Result:
    reader = LakeReader.connect(settings)
    with reader.http:
        chain = reader.main_chain()
        found = _check_tables(reader, chain[0]["id"], [one["path"] for one in reader.objects(chain[0]["id"])])
        return _balance({}, found, chain)


def test_the_audit_counts_what_commits_tell_and_misses_what_is_taken_away(
    drop, ingest, take_out, lake, settings
):
    drop("orders_1.csv", "1,10,5", "2,10,0", "3,10,-1")
    ingest()
    ids = tuple(row["id"] for row in apart(lake))[:1]
    take_out(lambda desk: outward.release(desk, SOURCE.table("orders"), Choice(*ANN, ids)))
    kept = audited(settings)
    assert (kept.outcome, kept.violations) == ("kept", ())
    assert "2 statements of commits" in kept.subject
    (gone,) = [path for path in paths(lake, "quarantine/shop/orders") if path.endswith(".parquet")]
    publish(
        lake,
        "thief",
        "quarantine",
        lambda draft: remove(lake, draft, [f"quarantine/shop/orders/{gone}"]),
        lambda _draft: PASSED,
        "Tidy up",
    )
    broken = audited(settings)
    assert [(one.id, one.what) for one in broken.violations] == [
        ("raw/shop/orders", "1 rows were quarantined, main holds 0 of them")
    ]


def products() -> Table:
    return orders(
        name="products",
        read=Files(bucket="landing_bucket", pattern="shop/*products.csv", format="csv"),
        columns=(Column(name="product_id", type="int32"), Column(name="price", type="int32")),
        key=("product_id",),
        rules=(Range(column="price", minimum=0),),
    )


def test_a_reference_is_to_published_rows_of_the_same_landing(drop, ingest, lake):
    read = Files(bucket="landing_bucket", pattern="shop/*orders_1.csv", format="csv")
    rules = (References(column="product_id", table="products"),)
    source = a_source(orders(read=read, rules=rules), products())
    drop("orders_1.csv", "1,10,5", "2,11,5", "3,12,5")
    drop("products.csv", "10,1", "11,-1", header="product_id,price")
    ingest(source)
    assert [json.loads(row["row"])["product_id"] for row in apart(lake, source)] == [11, 12]
    drop("products.csv", "10,1", "11,1", "12,1", header="product_id,price")
    ingest(source)
    assert apart(lake, source) == []
    assert published(lake) == [(1, 10, 5), (2, 11, 5), (3, 12, 5)]


KILLED_AT = ("upload", "remove", "commit_draft", "merge_draft", "delete_branch")


def _die_at(settings: Settings, point: str, after: bool, ids: tuple[str, ...]) -> None:
    """Release rows in a process that is killed before or behind the first call of a step."""
    from include.ingestion import batch, quarantine
    from include.lake import runs

    def deadly(step):
        def run(*args, **kwargs):
            if after:
                step(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        return run

    owners = {"upload": (outward, batch, quarantine), "remove": (batch, quarantine), "delete_branch": (runs,)}
    publishing = sys.modules["include.lake.publish"]
    for owner in owners.get(point, (publishing,)):
        setattr(owner, point, deadly(getattr(owner, point)))
    lake = Lake.connect(settings)

    def write(draft) -> None:
        desk = Desk(lake, settings, draft, SOURCE)
        outward.release(desk, SOURCE.table("orders"), Choice(*ANN, ids))

    publish(lake, "release-once", "quarantine", write, lambda _draft: PASSED, "Release")


@pytest.mark.faults
@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("point", KILLED_AT)
def test_a_release_that_is_killed_anywhere_is_done_once_by_the_next_try(
    drop, ingest, take_out, lake, settings, point, after
):
    drop("orders_1.csv", "1,10,5", "2,10,0", "3,10,-1")
    ingest()
    ids = tuple(row["id"] for row in apart(lake))
    child = multiprocessing.get_context("spawn").Process(target=_die_at, args=(settings, point, after, ids))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    rows, left = published(lake), apart(lake)
    assert (len(rows), len(left)) in {(1, 2), (3, 0)}

    def again(desk: Desk) -> Landed:
        return outward.release(desk, SOURCE.table("orders"), Choice(*ANN, ids))

    done = take_out(again, "release-once")
    assert done.changed
    assert published(lake) == [(1, 10, 5), (2, 10, 0), (3, 10, -1)]
    assert apart(lake) == []
    assert open_draft(lake, "next", "quarantine").base == lake.head().commit
