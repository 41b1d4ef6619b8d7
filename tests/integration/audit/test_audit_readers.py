"""The reader of the lake on a real server, with commits made by hand through the plain SDK."""

import lakefs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lakefs.client import Client

from include.audit.commits import check_chain, check_merges, check_protection, check_verdicts, published
from include.audit.errors import StoreUnreadable
from include.audit.lake_reader import LakeReader
from include.audit.rows import check_unique
from include.audit.tables import connected, downloaded, table_files
from include.audit.watermarks import check_watermarks, read_landings
from include.settings import Settings

REPOSITORY = "audited"


@pytest.fixture(scope="module")
def repository(lake_server_local):
    keys = lake_server_local.keys
    client = Client(
        host=lake_server_local.endpoint, username=keys.access_key_id, password=keys.secret_access_key
    )
    made = lakefs.Repository(REPOSITORY, client=client).create(storage_namespace=f"local://{REPOSITORY}")
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"product_id": [1, 1]}), buffer)
    main = made.branch("main")
    path = "raw/retail/products/snapshot/0.parquet"
    main.object(path).upload(data=buffer.getvalue().to_pybytes(), mode="wb")
    main.commit("Write to main by hand")
    return made


@pytest.fixture
def reader(lake_server_local, repository):
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        lakefs_endpoint=lake_server_local.endpoint,
        lakefs_access_key_id=lake_server_local.keys.access_key_id,
        lakefs_secret_access_key=lake_server_local.keys.secret_access_key,
        lake_repository=REPOSITORY,
    )
    reader = LakeReader.connect(settings)
    with reader.http:
        yield reader


def test_what_was_written_by_hand_is_reported_by_its_id(reader, tmp_path):
    chain = reader.main_chain()
    (direct,) = [commit["id"] for commit in published(chain)]
    assert check_chain(chain, reader.commit).count == 2
    assert not check_chain(chain, reader.commit).violations
    for checked in (check_verdicts(chain), check_merges(chain, reader.commit)):
        assert {violation.id for violation in checked.violations} == {direct}
    assert [v.id for v in check_protection(reader.protected(), reader.uncommitted()).violations] == ["main"]
    (landing,) = read_landings(reader, chain)
    where = f"{direct}:raw/retail/_watermark.json"
    assert [violation.id for violation in check_watermarks([landing]).violations] == [where]
    ((path, files),) = table_files([item["path"] for item in reader.objects(direct)]).items()
    with downloaded(reader, direct, path, files, tmp_path) as table, connected(tmp_path) as connection:
        keys = check_unique(connection, table, None)
    assert keys is not None
    (violation,) = keys.violations
    assert violation.id == "raw/retail/products?product_id=1"


def test_what_is_staged_on_main_is_seen(reader, repository):
    staged = repository.branch("main").object("raw/stray.txt")
    staged.upload(data=b"stray", mode="wb")
    try:
        assert reader.uncommitted() == ["raw/stray.txt"]
    finally:
        staged.delete()


def test_what_is_not_there_is_none(reader):
    assert reader.commit("0" * 64) is None
    assert reader.read("main", "no/such.json") is None


def test_a_store_that_does_not_answer_is_an_error_of_its_own():
    nowhere = Settings(_env_file=None, lakefs_endpoint="http://127.0.0.1:9")  # type: ignore[call-arg]
    silent = LakeReader.connect(nowhere)
    with silent.http, pytest.raises(StoreUnreadable, match="lake cannot be read"):
        silent.main_chain()
