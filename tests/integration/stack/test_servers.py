"""Each single server, run by its `Server` description alone."""

import http.client
import stat
from pathlib import Path

import psutil
import psycopg
import pytest

from include.stack import postgres as pg
from include.stack import seaweedfs as weed
from include.stack.credentials import password
from include.stack.ports import free_ports, holder, is_free
from include.stack.server import StackError, running

pytestmark = pytest.mark.integration


def _client(s3: weed.S3Access):
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name=s3.region,
    )


def test_postgres_gives_each_role_its_own_database(postgres: pg.PostgresAccess) -> None:
    assert postgres.databases == ("airflow", "mlflow", "retail", "retail_live", "flights")
    for role in postgres.databases:
        with psycopg.connect(postgres.dsn(role)) as connection:
            row = connection.execute("SELECT current_user, current_database()").fetchone()
            assert row == (role, role)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(postgres.dsn("mlflow", "airflow"))


def test_postgres_refuses_a_wrong_password_and_logs_changes_logically(postgres: pg.PostgresAccess) -> None:
    wrong = pg.PostgresAccess(postgres.port, {**postgres.passwords, "retail": "wrong"})
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong.dsn("retail"))
    with psycopg.connect(postgres.dsn("retail"), autocommit=True) as connection:
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
        slot = "SELECT pg_create_logical_replication_slot('probe', 'pgoutput', true)"
        assert connection.execute(slot).fetchone() is not None


def test_seaweedfs_takes_right_keys_and_known_buckets_only(seaweedfs: weed.S3Access) -> None:
    from botocore.exceptions import ClientError

    client = _client(seaweedfs)
    names = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    assert {"headrace-lake", "headrace-landing"} <= names
    client.put_object(Bucket="headrace-landing", Key="probe", Body=b"12345")
    assert client.get_object(Bucket="headrace-landing", Key="probe")["Body"].read() == b"12345"
    with pytest.raises(ClientError, match="NoSuchBucket"):
        client.put_object(Bucket="misspelt", Key="probe", Body=b"")
    wrong = weed.S3Access(seaweedfs.endpoint, type(seaweedfs.keys)(seaweedfs.access_key, "wrong"))
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        _client(wrong).list_buckets()


def test_servers_listen_on_loopback_only(postgres: pg.PostgresAccess, seaweedfs: weed.S3Access) -> None:
    ports = {int(seaweedfs.endpoint.rsplit(":", 1)[1]), postgres.port}
    everything = psutil.net_connections("tcp")
    pids = {connection.pid for connection in everything if ports & set(connection.laddr)}
    listening = [c for c in everything if c.pid in pids - {None} and c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 9, "postgres and every listener of the store"
    assert {c.laddr[:1] for c in listening} == {("127.0.0.1",)}


def test_data_outlives_a_restart_and_nothing_runs_afterwards(tmp_path: Path) -> None:
    access = pg.PostgresAccess(free_ports(1)[0], {pg.SUPERUSER: password(), "retail": password()})
    server = pg.server(tmp_path / "pg", access)
    with running(server), psycopg.connect(access.dsn("retail"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert is_free(access.port)
    with running(server), psycopg.connect(access.dsn("retail")) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert is_free(access.port)


def test_a_server_that_stops_shows_its_last_log_lines(tmp_path: Path, postgres: pg.PostgresAccess) -> None:
    server = pg.server(tmp_path / "pg", pg.PostgresAccess(postgres.port, {pg.SUPERUSER: password()}))
    with pytest.raises(StackError, match="Address already in use") as error, running(server):
        pass
    assert "postgres stopped with exit code 1" in error.value.message
    assert "postgres.log" in error.value.remedy


def test_folders_are_private(tmp_path: Path) -> None:
    access = pg.PostgresAccess(free_ports(1)[0], {pg.SUPERUSER: password()})
    server = pg.server(tmp_path / "pg", access)
    with running(server):
        assert stat.S_IMODE((tmp_path / "pg").stat().st_mode) == 0o700
        log = tmp_path / "pg" / "postgres.log"
        assert log.exists()


def test_lake_server_answers(lake_server, lake_server_local) -> None:
    for access in (lake_server, lake_server_local):
        host = access.endpoint.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request("GET", "/_health")
        assert connection.getresponse().status in (200, 204)


def test_free_ports_are_distinct_and_a_taken_one_is_named(postgres: pg.PostgresAccess) -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)
    assert not is_free(postgres.port)
    assert "postgres" in holder(postgres.port)
