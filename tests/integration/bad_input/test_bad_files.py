"""Every bad file ends in one clear error, or in rows put apart and counted; main never holds any of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from include.ingestion.batch import Desk, land
from include.lake import Lake, open_draft
from include.lake.objects import list_objects
from include.settings import Settings
from include.spec.contract import OnViolation
from include.spec.errors import HeadraceError
from include.spec.reads import Files, Format
from include.spec.refs import Landed
from include.spec.source import Column, Source, Table
from include.stack.lake_server import LakeAccess
from tests.integration.bad_input.files import EVERY, GOOD, HEADER, Bad

pytestmark = pytest.mark.integration

LONGEST_ERROR = 1200
COLUMNS = (
    Column(name="id", type="int32"),
    Column(name="name", type="string", nullable=True),
    Column(name="price", type="decimal(6,2)"),
    Column(name="share", type="float64"),
    Column(name="day", type="date"),
    Column(name="at", type="timestamp"),
)


@dataclass
class Counter:
    """A lake, and the folder that files arrive in."""

    lake: Lake
    settings: Settings
    folder: Path

    def land(self, name: str, form: Format, data: bytes, policy: OnViolation) -> tuple[Desk, Landed]:
        for file in self.folder.iterdir():
            file.unlink()
        (self.folder / name).write_bytes(data)
        table = Table(
            name="orders",
            description="One order.",
            read=Files(bucket="landing_bucket", pattern="orders*", format=form),
            columns=COLUMNS,
            on_violation=policy,
            quarantine_at_most=1,
        )
        source = Source(name="partner", owner="a@b.example", description="A partner.", tables=(table,))
        draft = open_draft(self.lake, uuid4().hex, "ingest_batch__partner")
        desk = Desk(self.lake, self.settings, draft, source)
        return desk, land(desk, source.origins[0]).tables[0]

    def scratch(self) -> list[Path]:
        return list((self.settings.home / "scratch").rglob("*"))


@pytest.fixture(scope="module")
def counter(lake_server_local: LakeAccess, tmp_path_factory: pytest.TempPathFactory) -> Counter:
    folder = tmp_path_factory.mktemp("landing")
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        lakefs_endpoint=lake_server_local.endpoint,
        lakefs_access_key_id=lake_server_local.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"local://{uuid4().hex}",
        landing_bucket=f"file://{folder}",
    )
    return Counter(Lake.prepare(settings), settings, folder)


def check_error(error: HeadraceError, name: str) -> None:
    """One clear error: what, where, what to do; fit for a log."""
    text = str(error)
    assert name in error.message
    assert error.remedy
    assert len(text) < LONGEST_ERROR
    assert text.isprintable()


def outcome_of(counter: Counter, bad: Bad) -> HeadraceError | tuple[Desk, Landed]:
    try:
        return counter.land(bad.name, bad.format, bad.data(), "quarantine")
    except HeadraceError as error:
        return error


def test_there_are_sixty_and_the_good_file_is_taken(counter):
    assert len(EVERY) >= 60
    assert len({bad.title + bad.format for bad in EVERY}) == len(EVERY)
    _, landed = counter.land("orders.csv", "csv", (HEADER + GOOD).encode(), "refuse")
    assert (landed.rows, landed.rows_in) == (1, 1)


@pytest.mark.parametrize("bad", EVERY, ids=lambda bad: f"{bad.format}: {bad.title}")
def test_a_bad_file_is_refused_in_one_clear_error(counter, bad: Bad):
    head = counter.lake.head()
    with pytest.raises(HeadraceError) as caught:
        counter.land(bad.name, bad.format, bad.data(), "refuse")
    check_error(caught.value, bad.name)
    assert re.search(bad.said, caught.value.message)
    assert counter.lake.head() == head
    assert counter.scratch() == []


@pytest.mark.parametrize("bad", EVERY, ids=lambda bad: f"{bad.format}: {bad.title}")
def test_a_bad_file_is_put_apart_row_by_row_or_refused(counter, bad: Bad):
    head = counter.lake.head()
    outcome = outcome_of(counter, bad)
    if isinstance(outcome, HeadraceError):
        # A file that says nothing of its rows is refused, and so is one without any good row.
        check_error(outcome, bad.name if bad.name in outcome.message else "raw/partner/orders")
    else:
        desk, landed = outcome
        assert landed.quarantined > 0
        assert landed.rows_in == landed.rows + landed.quarantined
        assert list(list_objects(counter.lake, desk.draft, "quarantine/partner/orders"))
    assert counter.lake.head() == head
    assert counter.scratch() == []
