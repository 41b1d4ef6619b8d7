"""The jobs of docker-compose.yaml on real servers: each does its work, and no harm when it runs again."""

import json
import os
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.integration


def run_job(job, **environment):
    places = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "docker/initialise.py", job]
    whole = {**os.environ, **places, **environment}
    return subprocess.run(
        command, cwd=ROOT, env=whole, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_lake_job_makes_buckets_and_a_protected_repository(tmp_path, seaweedfs, lake_server):
    import boto3
    import lakefs
    from lakefs.client import Client
    from lakefs_sdk.exceptions import ForbiddenException

    name = f"lake-{uuid.uuid4().hex[:8]}"
    variables = {
        **seaweedfs.environment(),
        **lake_server.environment(),
        "HEADRACE_HOME": str(tmp_path),
        "HEADRACE_LAKE_REPOSITORY": name,
        "HEADRACE_LAKE_STORAGE_NAMESPACE": f"s3://{name}/root",
        "HEADRACE_LANDING_BUCKET": f"{name}-landing",
    }
    for _ in range(2):
        done = run_job("lake", **variables)
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"repository {name}" in done.stdout
    s3 = boto3.client(
        "s3",
        endpoint_url=seaweedfs.endpoint,
        region_name=seaweedfs.region,
        aws_access_key_id=seaweedfs.access_key,
        aws_secret_access_key=seaweedfs.secret_key,
    )
    buckets = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert {name, f"{name}-landing", "headrace-mlflow"} <= buckets
    client = Client(
        host=lake_server.endpoint,
        username=lake_server.access_key_id,
        password=lake_server.secret_access_key,
    )
    main = lakefs.Repository(name, client=client).branch("main")
    with pytest.raises(ForbiddenException):
        main.object("raw/x").upload(b"past the gates")


def test_the_airflow_job_migrates_and_writes_the_password_for_its_owner(tmp_path, postgres):
    import psycopg

    passwords = tmp_path / "airflow" / "passwords.json"
    variables = {
        "HEADRACE_HOME": str(tmp_path),
        "HEADRACE_AIRFLOW_USERNAME": "admin",
        "HEADRACE_AIRFLOW_PASSWORD": "chosen",
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.dsn("airflow", scheme="postgresql+psycopg2"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    done = run_job("airflow", **variables)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(passwords.read_text()) == {"admin": "chosen"}
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    with psycopg.connect(postgres.dsn("airflow")) as connection:
        found = connection.execute(
            "select count(*) from information_schema.tables where table_name = 'dag_run'"
        )
        assert found.fetchone() == (1,)


def test_an_unknown_job_is_one_clear_error():
    done = run_job("nonesuch")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: name one job: lake or airflow"
