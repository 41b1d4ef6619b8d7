"""A lake of its own for each test: on the embedded server over S3 or over a folder, or on an external one."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from pydantic import SecretStr

from include.lake import Lake
from include.settings import Settings
from include.stack.lake_server import LakeAccess
from include.stack.seaweedfs import S3Access
from tests.integration.lake.samples import PATIENCE, write_orders

EXTERNAL = "HEADRACE_TEST_LAKEFS_"  # ENDPOINT, ACCESS_KEY_ID, SECRET_ACCESS_KEY, STORAGE_NAMESPACE


@dataclass(frozen=True)
class Place:
    """Where a test's lake is: everything its settings need."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    storage_namespace: str


def _settings(place: Place, home: Path, **others: Any) -> Settings:
    fields: dict[str, Any] = {
        "home": home,
        "lakefs_endpoint": place.endpoint,
        "lakefs_access_key_id": place.access_key_id,
        "lakefs_secret_access_key": SecretStr(place.secret_access_key),
        "lake_repository": f"lake-{uuid4().hex[:12]}",
        "lake_storage_namespace": f"{place.storage_namespace}/{uuid4().hex}",
    }
    return Settings(**{**fields, **others})


@pytest.fixture(scope="session")
def s3_place(request: pytest.FixtureRequest) -> Place:
    if EXTERNAL + "ENDPOINT" in os.environ:
        names = ("ENDPOINT", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "STORAGE_NAMESPACE")
        return Place(*(os.environ[EXTERNAL + name] for name in names))
    server = request.getfixturevalue("lake_server")
    return Place(server.endpoint, server.access_key_id, server.secret_access_key, "s3://headrace-lake")


@pytest.fixture(scope="session")
def local_place(request: pytest.FixtureRequest) -> Place:
    server = request.getfixturevalue("lake_server_local")
    return Place(server.endpoint, server.access_key_id, server.secret_access_key, "local://lake")


@pytest.fixture
def settings(s3_place: Place, tmp_path: Path) -> Settings:
    """Settings of a repository that does not exist yet."""
    return _settings(s3_place, tmp_path / "home")


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    """A lake over S3, with pre-signed URLs."""
    lake = Lake.prepare(settings, patience=PATIENCE)
    yield lake
    lake.api.repositories_api.delete_repository(lake.repository, force=True)


@pytest.fixture
def embedded_lake(lake_server: LakeAccess, seaweedfs: S3Access, tmp_path: Path) -> tuple[Lake, Any]:
    """A lake on the embedded server in all cases, with a client of the store that is under it."""
    place = Place(
        lake_server.endpoint, lake_server.access_key_id, lake_server.secret_access_key, "s3://headrace-lake"
    )
    store = boto3.client(
        "s3",
        endpoint_url=seaweedfs.endpoint,
        aws_access_key_id=seaweedfs.access_key,
        aws_secret_access_key=seaweedfs.secret_key,
        region_name=seaweedfs.region,
    )
    return Lake.prepare(_settings(place, tmp_path / "home"), patience=PATIENCE), store


@pytest.fixture
def local_lake(local_place: Place, tmp_path: Path) -> Lake:
    """A lake over a local folder: no pre-signed URLs."""
    return Lake.prepare(_settings(local_place, tmp_path / "home"), patience=PATIENCE)


@pytest.fixture(params=["s3", "local"])
def any_lake(request: pytest.FixtureRequest) -> Lake:
    """Both kinds."""
    lake: Lake = request.getfixturevalue("lake" if request.param == "s3" else "local_lake")
    return lake


@pytest.fixture
def orders(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a folder of Parquet files with `files` times `rows` rows, ids from `first`."""

    def make(files: int = 2, rows: int = 10, first: int = 0) -> Path:
        return write_orders(tmp_path / f"orders-{uuid4().hex[:8]}", files, rows, first)

    return make
