"""A shop whose captured changes are staged; one Spark for all tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.features.spark_jobs.session import spark_session
from include.settings import Settings
from include.stack.java import java_home
from tests.integration.cdc.conftest import another_lake, lake_settings, shop, source

__all__ = ["another_lake", "lake_settings", "shop", "source"]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home: Path = tmp_path_factory.mktemp("spark")
    settings = Settings(home=home, java_home=str(java_home(home)))
    with spark_session(settings, partitions=4) as session:
        yield session
