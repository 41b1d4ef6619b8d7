"""The reader of the registry on a real MLflow, with versions made by the registry's own writer."""

from typing import Any
from uuid import uuid4

import pytest

from include.audit import registry_reader
from include.audit.errors import StoreUnreadable
from include.audit.leaks import check_texts
from include.audit.registry_reader import Registered, RegistryReader
from include.audit.versions import bundle_digest, check_champions, check_versions, verify_version
from include.registry.store import Registry
from include.settings import Settings

pytestmark = pytest.mark.integration

FILES = {"model.ubj": b"trees", "schema.json": b"{}"}
SECRET = "not-for-anyone's-eyes"


@pytest.fixture(scope="module")
def settings(mlflow: str) -> Settings:
    return Settings(_env_file=None, mlflow_tracking_uri=mlflow)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def product(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A product of two versions, the first of which is the champion."""
    folder = tmp_path_factory.mktemp("bundle")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    name, registry = f"audited_{uuid4().hex[:12]}", Registry.connect(settings)
    first, second = [
        registry.register(
            registry.log_candidate(
                name, f"task/{number}", folder, bundle_digest(FILES), params={"rounds": number}
            ),
            {"headrace.seed": "17"},
        )
        for number in (1, 2)
    ]
    registry.promote(first)
    registry.tag_version(second, {"note": f"see {SECRET}"})
    return name


def read(settings: Settings, product: str) -> Registered:
    reader = RegistryReader.connect(settings)
    with reader.http:
        found = reader.read()
    mine = tuple(sorted((v for v in found.versions if v.product == product), key=lambda v: v.version))
    return Registered(mine, {product: found.champions[product]}, found.told)


def test_versions_come_with_their_tags_and_the_bytes_of_their_bundle(settings, product):
    registered = read(settings, product)
    assert [version.id for version in registered.versions] == [f"{product}/1", f"{product}/2"]
    for version in registered.versions:
        assert version.files == FILES
        assert version.tags["headrace.seed"] == "17"
        assert version.tags["headrace.digest"] == bundle_digest(version.files)
        assert version.run_id
    assert registered.champions == {product: "1"}


def test_what_is_planted_in_tags_is_found_where_it_stands(settings, product):
    registered = read(settings, product)
    runs = {version.run_id for version in registered.versions}
    told = [(where, text) for where, text in registered.told if product in where or where.split()[1] in runs]
    assert {f"run {run} params rounds" for run in runs} <= {where for where, _ in told}
    checked = check_texts(told, {"HEADRACE_X": SECRET}, "tags and parameters")
    assert checked.count == len(told) > 10
    assert [violation.id for violation in checked.violations] == [f"version {product}/2 tags note"]


def test_versions_without_a_manifest_are_named_and_so_is_the_champion_among_them(settings, product):
    registered = read(settings, product)
    verified = [verify_version(version, lambda *_: None, b"key") for version in registered.versions]
    faults = {violation.what for violation in check_versions(verified).violations}
    assert {"has no manifest in the lake", "does not name its data_commit"} <= faults
    assert "does not name its seed" not in faults
    (champion,) = check_champions(registered, verified).violations
    assert champion.id == f"{product}@champion"


def test_nothing_is_left_out_where_answers_come_in_pages(settings, product, monkeypatch):
    whole = read(settings, product)
    monkeypatch.setattr(registry_reader, "PAGE", 1)
    in_pages = read(settings, product)
    assert in_pages.versions == whole.versions
    assert set(in_pages.told) >= {one for one in whole.told if product in one[0]}


def test_a_registry_that_does_not_answer_is_an_error_of_its_own():
    nowhere: dict[str, Any] = {"_env_file": None, "mlflow_tracking_uri": "http://127.0.0.1:9"}
    reader = RegistryReader.connect(Settings(**nowhere))
    with reader.http, pytest.raises(StoreUnreadable, match="registry cannot be read"):
        reader.read()
