"""MLflow: tracking and registry in PostgreSQL, artifacts in our S3 store, streamed through the server.

Proxied artifacts cost a copy through one process, and in exchange a client needs one address and no S3 key.
`mlflow server` would keep a second process with all of MLflow imported only to wait for the first; `serve`
does in one process what that command does.
"""

import os
import sys
from pathlib import Path

from include.stack.health import answers
from include.stack.ports import LOOPBACK
from include.stack.postgres import NAME as POSTGRES
from include.stack.postgres import PostgresAccess
from include.stack.seaweedfs import NAME as SEAWEEDFS
from include.stack.seaweedfs import S3Access
from include.stack.server import Server

NAME = "mlflow"
PORT = ("HEADRACE_MLFLOW_PORT", 5000)

# A model version may point at what this server itself stores, and at nothing else: no path of the server, no
# foreign bucket, no URL.
SOURCES = r"\A(mlflow-artifacts:/(?!/)|models:/|runs:/)[^\\%?#]*\Z"


def server(
    folder: Path, port: int, database: PostgresAccess, s3: S3Access, bucket: str, flask_secret: str
) -> Server:
    """The server with its tables in the database `mlflow` and its artifacts in `bucket`."""
    url = f"http://{LOOPBACK}:{port}"
    return Server(
        name=NAME,
        command=(sys.executable, "-m", "include.stack.mlflow_server", str(port)),
        environment={
            "_MLFLOW_SERVER_FILE_STORE": database.dsn("mlflow"),
            "_MLFLOW_SERVER_REGISTRY_STORE": database.dsn("mlflow"),
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"s3://{bucket}/",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_S3_ENDPOINT_URL": s3.endpoint,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": SOURCES,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": flask_secret,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            "AWS_DEFAULT_REGION": s3.region,
            "MALLOC_ARENA_MAX": "2",
        },
        folder=folder,
        url=url,
        health=answers(f"{url}/health"),
        after=(POSTGRES, SEAWEEDFS),
        ports={PORT[0]: port},
    )


def serve(port: int) -> None:
    """Bring the tables up to date, then serve until told to stop, as the environment of `server` says."""
    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(
        os.environ["_MLFLOW_SERVER_FILE_STORE"],
        os.environ["_MLFLOW_SERVER_REGISTRY_STORE"],
        os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"],
    )
    uvicorn.run("mlflow.server.fastapi_app:app", host=LOOPBACK, port=port, log_level="warning")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
