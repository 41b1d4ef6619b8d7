"""A lake of each test's own, and settings for sources that are declared in the tests."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from include.ingestion.batch import Desk, land, record_positions
from include.ingestion.spans import WHAT_IS_NEW, Asked
from include.lake import Lake, checkout, commit_draft, merge_draft, open_draft
from include.settings import Settings
from include.spec.refs import Landed
from include.spec.source import Source
from include.spec.verdict import Verdict
from include.stack.lake_server import LakeAccess

PASSED = Verdict(True, "0" * 64, 1)


class PartnerSettings(Settings):
    """The settings with a field for each place that a test reads from."""

    shop_url: SecretStr = SecretStr("")
    orders_dsn: SecretStr = SecretStr("")
    weather_api_url: str = ""
    weather_token: SecretStr = SecretStr("")
    weather_user: str = ""
    partner_bucket: str = ""
    partner_host_key: str = ""
    partner_password: SecretStr = SecretStr("")
    partner_key: SecretStr = SecretStr("")


@pytest.fixture
def settings(lake_server_local: LakeAccess, tmp_path: Path) -> PartnerSettings:
    return PartnerSettings(
        home=tmp_path / "home",
        lakefs_endpoint=lake_server_local.endpoint,
        lakefs_access_key_id=lake_server_local.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"local://{uuid4().hex}",
    )


class Shelf:
    """A lake that sources are landed in, one published run after another."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lake = Lake.prepare(settings)
        self._runs = 0

    def land(self, source: Source, asked: Asked = WHAT_IS_NEW, **changed: object) -> Landed:
        """Land the only table of a source and publish it."""
        self._runs += 1
        draft = open_draft(self.lake, f"run-{self._runs}", f"ingest_batch__{source.name}")
        desk = Desk(self.lake, self.settings.model_copy(update=changed), draft, source)
        landing = land(desk, source.origins[0], asked)
        record_positions(self.lake, draft, [landing])
        commit_draft(self.lake, draft, "Ingest", {}, PASSED)
        merge_draft(self.lake, draft)
        return landing.tables[0]

    def rows(self, source: Source) -> list[dict]:
        """What main holds of the only table, in the order of its files."""
        prefix = f"{source.prefix(source.tables[0].name)}/snapshot"
        with checkout(self.lake, self.lake.head(), prefix) as files:
            manifest = json.loads((files.folder / prefix / "_manifest.json").read_text())
            parts = [files.folder / prefix / part["name"] for part in manifest["parts"]]
            assert sorted(parts) == sorted((files.folder / prefix).glob("*.parquet"))
            return [row for part in parts for row in pq.read_table(part).to_pylist()]

    def content(self, source: Source) -> str:
        """The manifest's digest: over the bytes of all files."""
        prefix = f"{source.prefix(source.tables[0].name)}/snapshot"
        with checkout(self.lake, self.lake.head(), prefix) as files:
            return str(json.loads((files.folder / prefix / "_manifest.json").read_text())["digest"])


@pytest.fixture
def shelf(settings: PartnerSettings) -> Callable[..., Shelf]:
    def make(**changed: object) -> Shelf:
        return Shelf(settings.model_copy(update=changed))

    return make
