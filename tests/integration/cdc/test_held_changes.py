"""Held changes out of quarantine, by hand and after random histories, and what the audit counts of them."""

import json
import random
import re
from typing import Any

import pytest
from typer.testing import CliRunner

import include.sources
from include.audit.auditor import Tables, _balance, _check_logs
from include.audit.lake_reader import LakeReader
from include.cli import app
from include.cli import quarantine as command
from include.ingestion.release import ReleaseError
from include.lake import remove
from include.lake.objects import list_objects
from include.orchestration.following import publish_window
from include.spec.contract import Range
from tests.integration.cdc.capturing import ORDERS, Shop
from tests.integration.cdc.ruled import LONG, PEOPLE, RULED, held, ids_of, insert, staged, take_out

pytestmark = pytest.mark.integration


def transact(shop: Shop, dice: random.Random) -> None:
    """One random transaction of one to four statements, committed four times in five."""
    with shop.connection.transaction(force_rollback=dice.random() < 0.2):
        for _ in range(dice.randint(1, 4)):
            key, to, age = dice.randrange(6), dice.randrange(6), dice.choice([-1, 1, 2])
            what = dice.choices(
                ["insert", "age", "story", "move", "delete", "truncate"], [6, 6, 3, 6, 3, 0.3]
            )
            free = f"AND NOT EXISTS (SELECT FROM customers WHERE id = {to})"
            statement = {
                "insert": f"INSERT INTO customers VALUES ({key}, 'n', {LONG}, {age}) ON CONFLICT DO NOTHING",
                "age": f"UPDATE customers SET age = {age} WHERE id = {key}",
                "story": f"UPDATE customers SET story = {LONG} WHERE id = {key}",
                "move": f"UPDATE customers SET id = {to}, age = {age} WHERE id = {key} {free}",
                "delete": f"DELETE FROM customers WHERE id = {key}",
                "truncate": "TRUNCATE customers",
            }
            shop.execute(statement[what[0]])


def balance_of(shop: Shop) -> Any:
    """I1+ and I3 of the audit, on all change logs of main."""
    reader = LakeReader.connect(shop.settings)
    chain = reader.main_chain()
    logs = _check_logs(reader, chain[0]["id"], [item["path"] for item in reader.objects(chain[0]["id"])])
    assert [fault for part in logs.order for fault in part.violations] == []
    return logs, _balance({}, Tables(), chain, logs)


@pytest.mark.parametrize(("seed", "identity"), [(1, "DEFAULT"), (2, "DEFAULT"), (3, "FULL")])
def test_whatever_happens_each_change_is_published_or_held_and_none_is_lost(ruled, seed, identity):
    ruled.execute(f"ALTER TABLE customers REPLICA IDENTITY {identity}")
    dice, rows_in, ever = random.Random(seed), len(ruled.changes("customers")), set()
    accepted: set[int] = set()
    for _ in range(4):
        for _ in range(15):
            transact(ruled, dice)
        captured = publish_window(ruled.lake, ruled.settings, ruled.source).captured
        rows_in += captured.rows
        found, source = staged(ruled), ruled.held("customers")
        touched = {change["row"]["id"] for change in held(ruled)}
        assert found.keys() <= source.keys(), "no row is there that the source has not"
        assert {key for key in source if found.get(key) != source[key]} <= touched
        assert all(0 <= row["age"] <= 150 for key, row in found.items() if key not in accepted)
        whole = {(one["commit_lsn"], one["sequence"]) for one in held(ruled)}
        ever |= whole
        published = [
            one for one in ruled.changes("customers") if (one["commit_lsn"], one["sequence"]) not in whole
        ]
        assert len(published) + len(whole) == rows_in
        if dice.random() < 0.5 and whole:
            some = set(dice.sample(sorted(ids_of(ruled)), len(whole) // 2 or 1))
            needed = {one for change in held(ruled) if change["id"] in some for one in change["needs"]}
            if needed & ids_of(ruled) <= some:
                accepted |= {change["row"]["id"] for change in held(ruled) if change["id"] in some}
                assert take_out(ruled, some) == len(some)
            else:
                with pytest.raises(ReleaseError, match="leave out values"):
                    take_out(ruled, some)
    assert len(ever) > 10
    ruled.execute(f"UPDATE customers SET age = 5, story = {LONG}")
    publish_window(ruled.lake, ruled.settings, ruled.source)
    assert staged(ruled) == ruled.held("customers"), "corrected in the source"
    assert len(ruled.held("customers")) > 1
    assert take_out(ruled, ids_of(ruled)) > 0
    ruled.check()
    assert (held(ruled), list(list_objects(ruled.lake, ruled.lake.head(), "quarantine/shop"))) == ([], [])


def test_the_audit_counts_what_is_published_and_what_is_held(shop):
    shop.execute("ALTER TABLE customers ADD age int")
    shop.execute("INSERT INTO customers SELECT n, 'n', 'x', n - 1 FROM generate_series(0, 19) n")
    shop.declare(RULED)
    publish_window(shop.lake, shop.settings, shop.source)
    shop.execute("UPDATE customers SET id = 50, age = -5 WHERE id = 3")
    insert(shop, 60, -1)
    insert(shop, 61, 1)
    publish_window(shop.lake, shop.settings, shop.source)
    logs, told = balance_of(shop)
    log = "raw/shop/customers/changes"
    assert (logs.held[log], logs.apart[log], told.violations) == (20, 3, ())
    assert take_out(shop, rule="range(age)") == 3
    logs, told = balance_of(shop)
    assert (logs.held[log], logs.apart.get(log, 0), told.violations) == (23, 0, ())
    insert(shop, 62, -1)
    publish_window(shop.lake, shop.settings, shop.source)
    desk = shop.open()
    paths = [stat.path for stat in list_objects(shop.lake, shop.lake.head(), "quarantine/shop")]
    remove(shop.lake, desk.draft, [path for path in paths if path.endswith(".parquet")])
    shop.publish(desk.draft)
    _, told = balance_of(shop)
    assert [(fault.id, fault.what) for fault in told.violations] == [
        (log, "1 changes were quarantined, main holds 0 of them")
    ]


def test_the_commands_list_show_release_and_replay_held_changes(ruled, monkeypatch, tmp_path):
    insert(ruled, 1, -1)
    ruled.execute("INSERT INTO customers VALUES (2, 'NO', 'x', 3)")
    ruled.run()
    insert(ruled, 3, 999)
    ruled.run()
    monkeypatch.setattr(include.sources, "SOURCES", (ruled.source,))
    monkeypatch.setattr(command, "settings", lambda: ruled.settings)

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["quarantine", *words])
        assert done.exit_code == code, done.output
        return done.output + str(done.exception or "")

    listed = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [(one["of"], one["table"], one["rule"], one["rows"]) for one in listed] == [
        ("changes", "customers", "range(age)", 2),
        ("changes", "customers", "matches(name)", 1),
    ]
    shown = run("show", "shop", "customers", "--rule", "matches(name)")
    assert re.search(
        r"the log at [0-9A-F]+/[0-9A-F]+, change 0 of transaction \d+: insert, name must be text", shown
    )
    assert '"id": 2, "name": "NO"' in shown
    first, *_ = [json.loads(line) for line in run("show", "shop", "customers", "--json").splitlines()]
    right = tmp_path / "right.jsonl"
    right.write_text(json.dumps({"id": first["id"], "age": 1}))
    told = ("--who", "ann@shop.example", "--why", "they are true")
    refused = run("replay", "shop", "customers", "--corrections", str(right), *told, code=1)
    assert "is a change that was captured of customers" in refused
    assert "Correct the row in the source" in refused
    assert "Nothing changed; 3 changes of customers are held." in run("replay", "shop", "customers")
    assert "2 changes of customers are held." in run(
        "release", "shop", "customers", "--row", first["id"], *told
    )
    assert staged(ruled).keys() == {0, 1}
    commit = ruled.lake.api.commits_api.get_commit(ruled.lake.repository, ruled.lake.head().commit)
    log = {"raw/shop/customers/changes": {"in": 0, "published": 1, "quarantined": -1}}
    assert (commit.metadata["who"], json.loads(commit.metadata["balance"])) == (told[1], log)
    loose = PEOPLE.model_copy(update={"rules": ()})
    ruled.declare((loose, ORDERS))
    monkeypatch.setattr(include.sources, "SOURCES", (ruled.source,))
    assert "0 changes of customers are held." in run("replay", "shop", "customers")
    ruled.check()


def test_replay_brings_back_what_keeps_the_rules_as_they_are_by_now(ruled):
    insert(ruled, 1, -1)
    insert(ruled, 2, 5)
    insert(ruled, 3, 999)
    ruled.run()
    insert(ruled, 4, -1)
    ruled.run()
    assert take_out(ruled) == 0
    loose = PEOPLE.model_copy(update={"rules": (Range(column="age", maximum=150),)})
    ruled.declare((loose, ORDERS))
    assert take_out(ruled) == 2
    assert [change["row"]["id"] for change in ruled.changes("customers")] == [0, 1, 2, 4]
    assert len(ruled.files("customers")) == 3
    assert [one["row"]["id"] for one in held(ruled)] == [3]
    assert take_out(ruled, rule="range(age)") == 1
    ruled.check()
    paths = list_objects(ruled.lake, ruled.lake.head(), "quarantine/shop/customers")
    assert [stat.path for stat in paths] == []
