"""The jobs that run once before the servers of docker-compose.yaml: harmless when they run again."""

import json
import os
import subprocess
import sys
from pathlib import Path

from include.settings import Settings, settings


def initialise_lake() -> None:
    """Makes the buckets, the lake server's administrator with the keys of `.env`, and the repository."""
    from include.lake.connection import Lake

    make_buckets(settings())
    set_up_lakefs(settings())
    Lake.prepare(settings())
    print(f"The lake is ready: repository {settings().lake_repository} at {settings().lakefs_endpoint}.")


def make_buckets(given: Settings) -> None:
    """One bucket each for the lake, the landing zone and the artefacts of MLflow."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=given.s3_endpoint,
        region_name=given.s3_region,
        aws_access_key_id=given.s3_access_key_id,
        aws_secret_access_key=given.s3_secret_access_key.get_secret_value(),
    )
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    lake_bucket = given.lake_storage_namespace.removeprefix("s3://").split("/")[0]
    for name in sorted({lake_bucket, given.landing_bucket, "headrace-mlflow"} - there):
        client.create_bucket(Bucket=name)


def set_up_lakefs(given: Settings) -> None:
    """Gives a new lake server its administrator; one that has one already answers 409 and keeps it."""
    import httpx

    key = {
        "access_key_id": given.lakefs_access_key_id,
        "secret_access_key": given.lakefs_secret_access_key.get_secret_value(),
    }
    answer = httpx.post(
        f"{given.lakefs_endpoint}/api/v1/setup_lakefs", json={"username": "admin", "key": key}, timeout=60
    )
    if answer.status_code != httpx.codes.CONFLICT:
        answer.raise_for_status()


def initialise_airflow() -> None:
    """Brings the database to this version's schema and writes the administrator's password for the log-in."""
    given = settings()
    passwords = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    passwords.parent.mkdir(parents=True, exist_ok=True)
    passwords.touch(mode=0o600)
    passwords.write_text(json.dumps({given.airflow_username: given.airflow_password.get_secret_value()}))
    subprocess.run(["airflow", "db", "migrate"], check=True)


JOBS = {"lake": initialise_lake, "airflow": initialise_airflow}

if __name__ == "__main__":
    if sys.argv[1:] not in [[job] for job in JOBS]:
        sys.exit(f"error: name one job: {' or '.join(JOBS)}")
    JOBS[sys.argv[1]]()
