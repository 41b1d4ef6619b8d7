"""What a person is told when the lake cannot be reached, or does not have what they ask for."""

import socket
import threading
import time

import pytest
from pydantic import SecretStr

from include.lake import Lake, Parting, open_draft, upload
from include.lake.errors import (
    CorruptParquet,
    Forbidden,
    NotALake,
    ServerRefused,
    UnknownRef,
    UnknownRepository,
    Unreachable,
    UploadFailed,
    WrongKeys,
)
from include.lake.objects import list_objects
from include.lake.outgoing import read_outgoing
from include.lake.patience import Patience
from include.lake.upload import _send
from include.settings import Settings
from include.stack import lake_server
from include.stack.credentials import KeyPair
from include.stack.ports import free_ports
from include.stack.server import running
from tests.integration.lake.samples import ORDERS, PATIENCE, STATION, paths

pytestmark = pytest.mark.integration


def test_wrong_keys_name_the_variables_and_not_the_keys(settings):
    for change in (
        {"lakefs_secret_access_key": SecretStr("not-this-one")},
        {"lakefs_access_key_id": "NOBODY"},
        {"lakefs_access_key_id": "", "lakefs_secret_access_key": SecretStr("")},
    ):
        with pytest.raises(WrongKeys, match="HEADRACE_LAKEFS_SECRET_ACCESS_KEY") as caught:
            Lake.connect(settings.model_copy(update=change))
        assert "not-this-one" not in str(caught.value)


def test_a_server_that_is_down_is_an_error_in_bounded_time(settings):
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    away = settings.model_copy(update={"lakefs_endpoint": endpoint})
    started = time.monotonic()
    with pytest.raises(Unreachable, match="HEADRACE_LAKEFS_ENDPOINT") as caught:
        Lake.connect(away, patience=Patience(deadline_s=1.0))
    assert endpoint in str(caught.value)
    assert time.monotonic() - started < 10


def test_a_server_that_never_answers_is_an_error_in_bounded_time(settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        away = settings.model_copy(update={"lakefs_endpoint": endpoint})
        started = time.monotonic()
        with pytest.raises(Unreachable, match="does not answer"):
            Lake.connect(away, patience=Patience(deadline_s=0.5, read_timeout_s=0.5))
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("endpoint", ["http://", "http://127.0.0.1:notaport", "http://lake.invalid:8000"])
def test_an_endpoint_that_is_none_is_one_clear_error(settings, endpoint):
    away = settings.model_copy(update={"lakefs_endpoint": endpoint})
    with pytest.raises((Unreachable, NotALake), match="HEADRACE_LAKEFS_ENDPOINT"):
        Lake.connect(away, patience=Patience(deadline_s=0.5))


def test_an_endpoint_of_something_else_is_one_clear_error(settings, seaweedfs):
    away = settings.model_copy(update={"lakefs_endpoint": seaweedfs.endpoint})
    with pytest.raises(NotALake, match="HEADRACE_LAKEFS_ENDPOINT") as caught:
        Lake.connect(away, patience=Patience(deadline_s=0.5))
    assert seaweedfs.endpoint in str(caught.value)


def test_a_repository_that_does_not_exist_names_the_command_that_makes_it(settings):
    with pytest.raises(UnknownRepository, match="headrace lake init") as caught:
        Lake.connect(settings)
    assert settings.lake_repository in str(caught.value)


def test_preparing_a_lake_twice_is_harmless_and_main_is_protected(settings, tmp_path):
    lake = Lake.prepare(settings, patience=PATIENCE)
    again = Lake.prepare(settings, patience=PATIENCE)
    assert again.head() == lake.head()
    with pytest.raises(Forbidden, match="merge only"):
        lake.call(
            lambda: lake.api.objects_api.upload_object(lake.repository, "main", "raw/a.bin", content=b"a")
        )
    assert paths(lake, lake.head()) == []


def test_a_ref_that_does_not_exist_is_one_clear_error(lake):
    for ask in (lake.head, lake.resolve):
        with pytest.raises(UnknownRef, match="ref=nothing-here"):
            ask("nothing-here")


def test_two_lakes_of_one_process_do_not_share_what_their_servers_can_do(lake, local_lake):
    """The SDK keeps a server's storage configuration in a dict of the class, one for all servers."""
    assert (lake.pre_sign, local_lake.pre_sign) == (True, False)
    assert lake.pre_sign_multipart


def test_a_server_that_is_restarted_is_waited_for(settings, tmp_path):
    keys, (port,) = KeyPair.generate(), free_ports(1)
    server = lake_server.server(tmp_path / "server", port, keys, None)
    away = Settings(
        home=tmp_path / "home",
        lakefs_endpoint=server.url,
        lakefs_access_key_id=keys.access_key_id,
        lakefs_secret_access_key=SecretStr(keys.secret_access_key),
        lake_storage_namespace="local://lake/restarted",
    )
    with running(server):
        lake = Lake.prepare(away, patience=PATIENCE)
        head = lake.head()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(lake.head()))
    asking.start()
    with running(server):
        asking.join()
    assert answers == [head]


def test_a_parquet_file_that_is_none_is_refused_before_it_is_staged(any_lake, orders, tmp_path):
    lake = any_lake
    good = next(orders(1, 10).iterdir())
    (tmp_path / "cut.parquet").write_bytes(good.read_bytes()[:-20])
    (tmp_path / "empty.parquet").write_bytes(b"")
    draft = open_draft(lake, "run-1", STATION)
    for name in ("cut.parquet", "empty.parquet"):
        with pytest.raises(CorruptParquet, match=name):
            upload(lake, draft, [tmp_path / name], ORDERS)
    assert paths(lake, draft) == []


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_file_that_changes_while_it_travels_is_not_staged(lake, tmp_path, in_parts):
    file = tmp_path / "moving.bin"
    file.write_bytes(b"a" * (6 << 20))
    draft = open_draft(lake, "run-1", STATION)
    parting = Parting(1 << 20, 5 << 20) if in_parts else Parting()
    outgoing = read_outgoing("raw/moving.bin", file, parting.of(file))
    assert bool(outgoing.digests.part_md5s) == in_parts
    file.write_bytes(b"b" * (6 << 20))
    with pytest.raises((UploadFailed, ServerRefused)):
        _send(lake, draft, outgoing, None, parting)
    assert paths(lake, draft) == []


def test_the_rows_of_an_upload_are_kept_with_the_objects(any_lake, orders):
    lake = any_lake
    draft = open_draft(lake, "run-1", STATION)
    done = upload(lake, draft, orders(3, 10), ORDERS)
    assert (done.rows, len(done.paths)) == (30, 3)
    assert done.sent_bytes == done.size_bytes > 0
    assert [stat.rows for stat in list_objects(lake, draft, ORDERS)] == [10, 10, 10]
