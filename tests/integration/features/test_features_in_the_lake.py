"""Features built from a commit and published to the lake, judged by their suites, on a real lake server."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from include.features.build import FeatureBuild, build_features
from include.features.points import newest_moment
from include.features.raw import raw_checkout
from include.features.training_set import PinnedSet, pin_training_set
from include.lake import Lake, checkout, publish, replace_tables, upload
from include.lake.errors import UnknownPath
from include.products import PRODUCTS
from include.settings import Settings
from include.sources.retail import SOURCE
from include.spec.product import Split, days
from include.spec.refs import CommitRef, DraftRef, Published, Refused
from include.spec.verdict import Verdict
from include.validation.gate import judge
from tests.unit.features.conftest import write_raw

pytestmark = pytest.mark.integration
LAPSE = PRODUCTS[1].model_copy(update={"split": Split(validation=days(61), test=days(31))})
PASSED = Verdict(True, "none", 1)


@pytest.fixture(scope="module")
def empty() -> list[CommitRef]:
    """The commit before the first publication, once there is one."""
    return []


@pytest.fixture(scope="module")
def lake(lake_server_local: Any, tmp_path_factory: pytest.TempPathFactory, empty: list[CommitRef]) -> Lake:
    """A lake that holds a slice of the real retail data, and promotions that no feature reads."""
    lake = Lake.prepare(
        Settings(
            home=tmp_path_factory.mktemp("home"),
            lakefs_endpoint=lake_server_local.endpoint,
            lakefs_access_key_id=lake_server_local.access_key_id,
            lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
            lake_repository=f"lake-{uuid4().hex[:12]}",
            lake_storage_namespace=f"local://lake/{uuid4().hex}",
        )
    )
    empty.append(lake.head())
    folder = tmp_path_factory.mktemp("raw")
    for table in SOURCE.tables:
        if table.name != "promotions":
            write_raw(table, folder)
    unread = folder / "raw/retail/promotions/snapshot"
    unread.mkdir(parents=True)
    (unread / "run-00000.parquet").write_bytes(next(folder.rglob("*.parquet")).read_bytes())
    publish(
        lake,
        "raw",
        "test",
        write=lambda draft: upload(lake, draft, folder / "raw", "raw"),
        audit=lambda _: PASSED,
        message="Slice of retail",
    )
    return lake


def build(lake: Lake, at: CommitRef, to: Path, state: Path) -> FeatureBuild:
    with raw_checkout(lake, at, "retail") as raw:
        read = {path.name for path in (raw / "raw" / "retail").iterdir()}
        assert read == {table.name for table in SOURCE.tables} - {"promotions"}
        return build_features(raw, to, state=state)


def publish_features(lake: Lake, folder: Path, built: FeatureBuild, scratch: Path) -> Published | Refused:
    def audit(draft: DraftRef) -> Verdict:
        with checkout(lake, draft, "features") as held:
            prefixes = [table.prefix for table in built.tables]
            files = {prefix: sorted(held.path(prefix).glob("*.parquet")) for prefix in prefixes}
            return judge(files, {}, scratch)[0]

    return publish(
        lake,
        uuid4().hex,
        "build_features__retail",
        write=lambda draft: replace_tables(lake, draft, folder, "features", "retail"),
        audit=audit,
        message="Features",
    )


def test_features_pass_their_suites_and_a_rebuild_changes_nothing(lake: Lake, tmp_path: Path) -> None:
    built = build(lake, lake.head(), tmp_path / "first", tmp_path / "state")
    published = publish_features(lake, tmp_path / "first", built, tmp_path / "scratch")
    assert isinstance(published, Published), published.verdict
    assert published.changed
    assert dict(published.rows) == built.rows

    again = build(lake, lake.head(), tmp_path / "again", tmp_path / "state")
    repeated = publish_features(lake, tmp_path / "again", again, tmp_path / "scratch")
    assert isinstance(repeated, Published)
    assert not repeated.changed
    assert lake.head() == published.commit

    pinned = [pin(lake, tmp_path / str(number)) for number in (1, 2)]
    assert pinned[0].id == pinned[1].id
    assert pinned[0].document["feature_commit"] == published.commit.commit
    assert pq.read_metadata(pinned[0].rows).num_rows > 300


def pin(lake: Lake, output: Path) -> PinnedSet:
    at = lake.head()
    with checkout(lake, at, "features") as held:
        features = held.path("features")
        return pin_training_set(LAPSE, features, newest_moment(features), output, commit=at.commit)


def test_a_commit_without_the_tables_is_refused(lake: Lake, empty: list[CommitRef]) -> None:
    with pytest.raises(UnknownPath), raw_checkout(lake, empty[0], "retail"):
        pass
