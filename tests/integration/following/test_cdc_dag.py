"""The DAG of a capture, by `dag.test()` on real servers: one window, nothing new, a dry run, following."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from include.orchestration import new_changes
from include.orchestration.following import Follower
from include.orchestration.new_changes import NewChanges

ROOT = Path(__file__).resolve().parents[3]


def environment(shop, home: Path) -> dict[str, str]:
    told = {
        f"HEADRACE_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name in type(shop.settings).model_fields
        for value in [getattr(shop.settings, name)]
    }
    bundle = {
        "name": "shop",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(home / "dags")},
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "HEADRACE"))}
    return {
        **kept,
        **told,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES": (
            "airflow.* include.spec.refs.* include.spec.verdict.*"
        ),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def run(shop, tmp_path) -> Callable[..., list[dict[str, Any]]]:
    """Runs the shop's DAG once for each form."""
    home = tmp_path / "airflow"
    home.mkdir()

    def run_all(*confs: dict[str, Any]) -> list[dict[str, Any]]:
        answer, slot = home / "answer.json", shop.source.capture.slot
        command = [sys.executable, "-m", "tests.integration.following.drive", slot, str(answer)]
        done = subprocess.run(
            [*command, *map(json.dumps, confs)],
            env=environment(shop, home),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        for secret in (shop.settings.retail_dsn, shop.settings.s3_secret_access_key):
            assert secret.get_secret_value() not in done.stdout + done.stderr + answer.read_text()
        return list(json.loads(answer.read_text()))

    return run_all


def test_a_run_is_a_window_and_a_run_without_changes_ends_at_once(shop, run):
    first, idle, dry = run({}, {}, {"dry_run": True})
    assert first["state"] == idle["state"] == dry["state"] == "success"
    assert first["tasks"] == {
        "begin": "success",
        "open_draft": "success",
        "capture": "success",
        "gate": "success",
        "publish": "success",
        "refuse": "skipped",
        "follow": "skipped",
    }
    assert shop.state("orders") == shop.table("orders")
    assert shop.slot()[0] == shop.position()
    assert {task for task, state in idle["tasks"].items() if state == "success"} == {"begin"}
    assert dry["tasks"]["gate"] == "success"
    assert dry["tasks"]["publish"] == dry["tasks"]["refuse"] == "skipped"


def test_a_continuous_run_follows_until_it_is_quiet(shop, run):
    followed, idle = run({"continuous": True}, {"continuous": True})
    assert followed["state"] == "success"
    assert followed["tasks"]["follow"] == "success"
    assert followed["tasks"]["open_draft"] == followed["tasks"]["publish"] == "skipped"
    assert shop.state("orders") == shop.table("orders")
    assert shop.slot()[0] == shop.position()
    # It deferred, nothing woke it, and it told nobody of changes.
    assert idle["state"] == "success"
    assert idle["tasks"]["follow"] == "skipped"


def test_a_shape_that_does_not_fit_fails_the_run_and_leaves_main(shop, run):
    Follower(shop.lake, shop.settings, shop.source, lambda _: None).follow(quiet_s=0)
    shop.execute("ALTER TABLE orders DROP COLUMN amount")
    shop.execute("INSERT INTO orders VALUES (5001, 1)")
    before, slot = shop.lake.head(), shop.slot()
    (stopped,) = run({})
    assert stopped["state"] == "failed"
    assert stopped["tasks"]["capture"] == "failed"
    assert (shop.lake.head(), shop.slot()) == (before, slot)


def events(trigger: NewChanges, meanwhile: Callable[[], object] | None = None) -> list[Any]:
    async def gather() -> list[Any]:
        async def all_of() -> list[Any]:
            return [event.payload async for event in trigger.run()]

        waiting = asyncio.create_task(all_of())
        if meanwhile is not None:
            await asyncio.sleep(1)
            assert not waiting.done()
            meanwhile()
        return await asyncio.wait_for(waiting, 30)

    return asyncio.run(gather())


@pytest.fixture
def trigger(shop, monkeypatch) -> Callable[..., NewChanges]:
    """A trigger of the shop, as the triggerer makes it from what the task has serialized."""
    monkeypatch.setattr(new_changes, "settings", lambda: shop.settings)

    def make(for_s: float = 20) -> NewChanges:
        path, arguments = NewChanges.of(shop.source, for_s, poll_s=0.1).serialize()
        assert path == "include.orchestration.new_changes.NewChanges"
        kept = json.dumps(arguments)
        assert shop.settings.retail_dsn.get_secret_value() not in kept
        return NewChanges(**json.loads(kept))

    return make


def test_the_trigger_fires_for_a_captured_table_and_for_no_other(shop, trigger):
    assert events(trigger()) == [{"pending": True}]  # nothing is captured yet
    Follower(shop.lake, shop.settings, shop.source, lambda _: None).follow(quiet_s=0)
    assert events(trigger(for_s=1)) == [{"pending": False}]

    def write_elsewhere() -> None:
        shop.execute("INSERT INTO elsewhere VALUES (1, 'x')")

    assert events(trigger(for_s=3), write_elsewhere) == [{"pending": False}]

    def write() -> None:
        shop.execute("UPDATE customers SET name = 'changed' WHERE customer_id = 1")

    assert events(trigger(), write) == [{"pending": True}]


def test_the_trigger_tells_what_is_wrong_instead_of_dying(shop, trigger):
    Follower(shop.lake, shop.settings, shop.source, lambda _: None).follow(quiet_s=0)
    shop.superuser.execute("SELECT pg_drop_replication_slot(%s)", (shop.source.capture.slot,))
    shop.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
    (told,) = events(trigger())
    assert set(told) == {"error"}
    assert "does not exist" in told["error"]
