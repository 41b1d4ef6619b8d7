"""Every command of the runbook does what it says, on a real lake of that name."""

import re
import shlex
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from include.cli import app
from include.lake import Lake, checkout
from include.settings import settings as settings_of_process
from tests.integration.lake.samples import ORDERS, PATIENCE, REFUSED, STATION
from tests.integration.lake.test_inspection import put
from tests.integration.lake.test_upkeep import branches, plant

pytestmark = pytest.mark.integration

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbooks" / "lake.md"


def commands():
    blocks = re.findall(r"^```sh\n(.*?)^```", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]


@pytest.fixture
def lake_of_the_runbook(settings, lake_server, monkeypatch):
    """A lake named `lake`, as the runbook calls it, with something to do for each command."""
    named = settings.model_copy(
        update={
            "lake_repository": "lake",
            "lakefs_endpoint": lake_server.endpoint,
            "lake_storage_namespace": f"s3://headrace-lake/{uuid4().hex}",
        }
    )
    lake = Lake.prepare(named, patience=PATIENCE)
    for name in ("HOME", "LAKEFS_ENDPOINT", "LAKEFS_ACCESS_KEY_ID", "LAKE_REPOSITORY"):
        monkeypatch.setenv(f"HEADRACE_{name}", str(getattr(named, name.lower())))
    secret = named.lakefs_secret_access_key.get_secret_value()
    monkeypatch.setenv("HEADRACE_LAKEFS_SECRET_ACCESS_KEY", secret)
    settings_of_process.cache_clear()
    yield lake
    settings_of_process.cache_clear()
    lake.api.repositories_api.delete_repository("lake", force=True)


def test_each_command_is_run(lake_of_the_runbook, orders):
    lake = lake_of_the_runbook
    put(lake, orders(), ORDERS, "run-1")
    refused = put(lake, orders(), "raw/retail/baskets", "run-2", REFUSED)
    checkout(lake, lake.head(), ORDERS).close()
    abandoned = plant(lake, "died", days_ago=8)
    told = {}
    for command in commands():
        program, *arguments = shlex.split(command)
        assert program == "headrace"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, f"{command}: {done.output}"
        told[command] = done.output
    assert len(told) == 8
    assert "3 of 10" in told["headrace lake refused"]
    assert abandoned in told["headrace lake collect --dry-run"]
    assert abandoned in told["headrace lake collect --older-than-days 7 --refused-for-days 30"]
    assert branches(lake) == {"main", refused.branch}
    assert (
        "0 expired and 0 unreferenced objects would be deleted" in told["headrace lakefs gc lake --dry-run"]
    )
    assert "0 B kept" in told["headrace lake trim --to-bytes 0"]
    assert STATION in told["headrace lake refused"]
