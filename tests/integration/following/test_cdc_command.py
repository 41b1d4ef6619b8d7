"""`headrace cdc`: how far, following until caught up, and beginning anew where the slot was lost."""

import json

import pytest
from typer.testing import CliRunner

import include.sources
from include.cli import app, cdc
from include.spec.errors import HeadraceError


@pytest.fixture
def headrace(shop, monkeypatch):
    """Runs the command line as if the shop were the one declared source."""
    monkeypatch.setattr(include.sources, "SOURCES", (shop.source,))
    monkeypatch.setattr(cdc, "settings", lambda: shop.settings)
    monkeypatch.setenv("HEADRACE_HOME", str(shop.settings.home))

    def run(*arguments: str):
        return CliRunner().invoke(app, ["cdc", *arguments])

    return run


def test_status_follow_and_reset(shop, headrace):
    never = headrace("status")
    assert never.exit_code == 0
    assert "never captured" in never.output
    done = headrace("follow", "shop", "--until-caught-up")
    assert done.exit_code == 0, done.output
    assert "1,100 changes in 1 commits." in done.output
    (told,) = json.loads(headrace("status", "shop", "--json").output)
    assert told["position"].startswith(shop.position())
    assert told["concern"] == ""
    assert told["wal_status"] == "reserved"

    shop.superuser.execute("SELECT pg_drop_replication_slot(%s)", (shop.source.capture.slot,))
    shop.execute("DELETE FROM orders WHERE order_id <= 10")
    lost = headrace("status")
    assert lost.exit_code == 1
    assert "does not exist" in lost.output
    stopped = headrace("follow", "shop", "--until-caught-up")
    assert stopped.exit_code == 1
    assert "headrace cdc reset" in stopped.output or "anew" in stopped.output

    again = headrace("reset", "shop", "--yes")
    assert again.exit_code == 0, again.output
    assert shop.state("orders") == shop.table("orders")
    assert len(shop.changes("orders")) == 990
    assert headrace("status").exit_code == 0


def test_an_unknown_source_is_one_error_that_lists_those_there_are(headrace):
    done = headrace("follow", "nonesuch")
    assert done.exit_code == 1
    assert "'nonesuch'" in done.output
    assert "shop" in done.output
    with pytest.raises(HeadraceError, match="captured source"):
        cdc.captured("nonesuch")


def test_nothing_is_reset_without_a_yes(shop, headrace):
    assert headrace("follow", "shop", "--until-caught-up").exit_code == 0
    before, slot = shop.lake.head(), shop.slot()
    assert headrace("reset", "shop").exit_code == 1
    assert (shop.lake.head(), shop.slot()) == (before, slot)
