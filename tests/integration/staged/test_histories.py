"""Random histories against PostgreSQL: the staged tables are the source's, at every moment that was seen."""

import random
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from psycopg import sql

from include.features.errors import StagingError
from include.lake import checkout, commit_draft, merge_draft, open_draft, upload
from tests.integration.cdc.capturing import PASSED, Shop
from tests.integration.staged.staging import contents, plain, stage, stored

pytestmark = pytest.mark.integration

BIG = "repeat(md5(random()::text), 100)"
KEYS = 12


def transact(shop: Shop, dice: random.Random) -> str:
    """One random transaction of one to six statements, committed four times in five; the last statement."""
    told = ""
    with shop.connection.transaction(force_rollback=dice.random() < 0.2):
        for _ in range(dice.randint(1, 6)):
            told = dice.choices(
                ["insert", "name", "story", "move", "delete", "truncate"], [6, 6, 3, 5, 3, 0.3]
            )[0]
            one(shop, dice, told)
    return told


def one(shop: Shop, dice: random.Random, what: str) -> None:
    key, to = dice.randrange(KEYS), dice.randrange(KEYS)
    match what:
        case "insert":
            story = BIG if dice.random() < 0.7 else "NULL"
            shop.execute(
                f"INSERT INTO customers (id, name, story) VALUES (%s, %s, {story}) ON CONFLICT DO NOTHING",
                (key, dice.choice(["a", None, "é\n'"])),
            )
        case "name":
            shop.execute("UPDATE customers SET name = %s WHERE id = %s", (str(dice.random()), key))
        case "story":
            shop.execute(f"UPDATE customers SET story = {BIG} WHERE id = %s", (key,))
        case "move":
            # With its story: it is TOASTed, and not sent again under the new key.
            shop.execute(
                "UPDATE customers SET id = %(to)s WHERE id = %(key)s "
                "AND NOT EXISTS (SELECT FROM customers WHERE id = %(to)s)",
                {"key": key, "to": to},
            )
        case "delete":
            shop.execute("DELETE FROM customers WHERE id = %s", (key,))
        case "truncate":
            shop.execute("TRUNCATE customers")


def as_of(history: list[dict[str, Any]], lsn: int) -> list[dict[str, Any]]:
    """The rows that were there at a position of the log."""
    there = [
        row for row in history if row["_from_lsn"] <= lsn and (row["_to_lsn"] is None or lsn < row["_to_lsn"])
    ]
    return sorted(plain(there), key=lambda row: row["id"])


def held(shop: Shop) -> list[dict[str, Any]]:
    return sorted(shop.held("customers").values(), key=lambda row: row["id"])


def check_times(history: list[dict[str, Any]]) -> None:
    """Versions of a key follow each other, in the log and in time, and none is of no commit."""
    last: dict[int, dict[str, Any]] = {}
    for row in sorted(history, key=lambda row: (row["id"], row["_from_lsn"])):
        before = last.get(row["id"])
        if before is not None:
            assert before["_to_lsn"] is not None
            assert before["_to_lsn"] <= row["_from_lsn"]
            assert before["valid_to"] <= row["valid_from"]
        assert row["_to_lsn"] is None or row["_to_lsn"] > row["_from_lsn"]
        assert (row["valid_to"] is None) == (row["_to_lsn"] is None)
        last[row["id"]] = row


@pytest.mark.parametrize(("seed", "identity"), [(2, "DEFAULT"), (3, "FULL")])
def test_staged_tables_are_the_source_at_every_moment(shop, another_lake, spark, seed, identity):
    shop.execute(sql.SQL("ALTER TABLE customers REPLICA IDENTITY {}").format(sql.SQL(identity)))
    dice = random.Random(seed)
    for _ in range(8):
        one(shop, dice, "insert")
    seen, modes, told = [], [], set()
    for step in range(4):
        for _ in range(0 if step == 0 else 25):
            told.add(transact(shop, dice))
        shop.run()
        lsn = max(change["commit_lsn"] for change in shop.changes("customers"))
        seen.append((lsn, held(shop)))
        modes.append(stage(shop.lake, shop.settings, shop.source, "customers", spark).mode)
        current = stored(shop.lake, "staged/shop/customers")
        assert sorted(plain(current), key=lambda row: row["id"]) == seen[-1][1]
    assert modes == ["all", "forward", "forward", "forward"]
    assert told >= {"insert", "name", "story", "move", "delete"}
    history = stored(shop.lake, "staged/shop/customers__history")
    assert len(history) > 40
    check_times(history)
    for lsn, rows in seen:
        assert as_of(history, lsn) == rows
    again = stage(shop.lake, shop.settings, shop.source, "customers", spark, anew=True)
    assert (again.mode, again.changed) == ("all", False), "the same files from the whole log"
    if identity == "DEFAULT":  # where values are left out, and so an order can be wrong
        late_and_repeated(shop, another_lake, spark, dice)


def late_and_repeated(shop: Shop, lake: Any, spark: Any, dice: random.Random) -> None:
    """The files of the log in another order, and some again under other names: the same tables."""
    prefix = "raw/shop/customers/changes"
    names = shop.files("customers")
    order = [*names[:1], *dice.sample(names[1:], len(names) - 1)]
    if order == sorted(order):
        order = [names[0], *reversed(names[1:])]
    modes: list[str] = []
    with checkout(shop.lake, shop.lake.head(), prefix) as files:
        for name in order:
            bring(lake, {name: files.path(f"{prefix}/{name}")}, prefix)
            try:
                modes.append(stage(lake, shop.settings, shop.source, "customers", spark).mode)
            except StagingError as error:
                assert "no change before it tells" in str(error)  # noqa: PT017  # it may also be none
                modes.append("refused")
        assert set(modes) & {"late", "refused"}
        for folder in ("staged/shop/customers", "staged/shop/customers__history"):
            assert contents(lake, folder) == contents(shop.lake, folder)
        last = files.path(f"{prefix}/{names[-1]}")
        bring(lake, {names[-1].replace(".parquet", "-again.parquet"): last}, prefix)
        assert stage(lake, shop.settings, shop.source, "customers", spark).mode == "nothing"
        # The same changes in other bytes: they are read again, and count once.
        rewritten = shop.settings.home / "rewritten.parquet"
        pq.write_table(pq.read_table(last), rewritten, compression="gzip")
        bring(lake, {names[-1].replace(".parquet", "-rewritten.parquet"): rewritten}, prefix)
    assert stage(lake, shop.settings, shop.source, "customers", spark).mode == "late"
    for folder in ("staged/shop/customers", "staged/shop/customers__history"):
        assert tables_of(contents(lake, folder)) == tables_of(contents(shop.lake, folder))


def tables_of(held: dict[str, str]) -> dict[str, str]:
    return {path: content for path, content in held.items() if path.endswith(".parquet")}


def bring(lake: Any, files: Any, prefix: str) -> None:
    draft = open_draft(lake, uuid4().hex, "bring", restart=True)
    upload(lake, draft, files, prefix)
    commit_draft(lake, draft, "Bring", {}, PASSED)
    merge_draft(lake, draft)
