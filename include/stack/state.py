"""What a stack remembers in `HEADRACE_HOME` between runs: its ports and its credentials.

| file | holds | mode |
|---|---|---|
| `stack.json` | ports | 0600 |
| `credentials.json` | every generated key and password | 0600 |
| `stack.env` | what clients need, as `HEADRACE_*`; read by `include.settings` | 0600 |
| `run/` | the supervisor's files, and what each server is started with | 0700 |
| `log/` | one log per server, rotated | 0700 |
| `<server>/` | the server's own state | 0700 |
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from include.stack import lake_server, postgres, seaweedfs
from include.stack.credentials import KeyPair, password
from include.stack.java import JavaMissingError, java_home
from include.stack.ports import free_ports, is_free
from include.stack.server import StackError, make_folder

LANDING_BUCKET = "headrace-landing"
LAKE_BUCKET = "headrace-lake"
MLFLOW_BUCKET = "headrace-mlflow"
LAKE_REPOSITORY = "lake"
AIRFLOW_USER = "admin"

DEFAULT_PORTS: Mapping[str, int] = {
    postgres.PORT[0]: postgres.PORT[1],
    **{variable: port for variable, (_, port) in seaweedfs.PORTS.items()},
    lake_server.PORT[0]: lake_server.PORT[1],
    "HEADRACE_MLFLOW_PORT": 5000,
    "HEADRACE_AIRFLOW_PORT": 8080,
}


@dataclass(frozen=True)
class Credentials:
    """Everything secret that the stack generates for itself."""

    postgres: Mapping[str, str] = field(repr=False)
    s3: KeyPair = field(repr=False)
    lakefs: KeyPair = field(repr=False)
    airflow_password: str = field(repr=False)
    airflow_fernet_key: str = field(repr=False)
    airflow_jwt_secret: str = field(repr=False)
    airflow_api_secret: str = field(repr=False)
    mlflow_flask_secret: str = field(repr=False)
    # A stack made before releases were signed gets its key at its next start.
    signing_key: str = field(repr=False, default_factory=lambda: password(64))

    @classmethod
    def generate(cls) -> "Credentials":
        """Fresh ones."""
        return cls(
            postgres={role: password() for role in postgres.ROLES},
            s3=KeyPair.generate(),
            lakefs=KeyPair.generate(),
            airflow_password=password(24),
            airflow_fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            airflow_jwt_secret=password(64),
            airflow_api_secret=password(64),
            mlflow_flask_secret=password(64),
        )

    def secret_values(self) -> list[str]:
        """Every value that must never be seen in a log or on a command line."""
        keys = [self.s3.secret_access_key, self.lakefs.secret_access_key]
        own = [value for value in vars(self).values() if isinstance(value, str)]
        return [*self.postgres.values(), *keys, *own]


@dataclass(frozen=True)
class State:
    """One stack: where it lives, the ports it uses, the credentials it made."""

    home: Path
    ports: Mapping[str, int]
    credentials: Credentials

    @property
    def run_folder(self) -> Path:
        """The supervisor's files."""
        return self.home / "run"

    @property
    def log_folder(self) -> Path:
        """One log per server."""
        return self.home / "log"

    @property
    def postgres(self) -> postgres.PostgresAccess:
        """How PostgreSQL is reached."""
        return postgres.PostgresAccess(self.ports[postgres.PORT[0]], self.credentials.postgres)

    @property
    def s3(self) -> seaweedfs.S3Access:
        """How the object store is reached."""
        return seaweedfs.S3Access(self.url("HEADRACE_S3_PORT"), self.credentials.s3)

    @property
    def lake(self) -> lake_server.LakeAccess:
        """How the lake server is reached."""
        return lake_server.LakeAccess(self.url(lake_server.PORT[0]), self.credentials.lakefs)

    def url(self, variable: str) -> str:
        """The address of the server whose port `variable` sets."""
        return f"http://127.0.0.1:{self.ports[variable]}"

    def client_environment(self) -> dict[str, str]:
        """What `stack.env` holds: one line for each setting that the stack knows."""
        return {
            **self.lake.environment(),
            **self.s3.environment(),
            "HEADRACE_LAKE_REPOSITORY": LAKE_REPOSITORY,
            "HEADRACE_LAKE_STORAGE_NAMESPACE": f"s3://{LAKE_BUCKET}",
            "HEADRACE_LANDING_BUCKET": LANDING_BUCKET,
            "HEADRACE_MLFLOW_TRACKING_URI": self.url("HEADRACE_MLFLOW_PORT"),
            "HEADRACE_AIRFLOW_URL": self.url("HEADRACE_AIRFLOW_PORT"),
            "HEADRACE_AIRFLOW_USERNAME": AIRFLOW_USER,
            "HEADRACE_AIRFLOW_PASSWORD": self.credentials.airflow_password,
            "HEADRACE_RETAIL_DSN": self.postgres.dsn("retail"),
            "HEADRACE_RETAIL_LIVE_DSN": self.postgres.dsn("retail_live"),
            "HEADRACE_FLIGHTS_DSN": self.postgres.dsn("flights"),
            "HEADRACE_SIGNING_KEY": self.credentials.signing_key,
            **_java(self.home),
        }

    def save(self) -> None:
        """Write the three files, each at once and with mode 0600.

        Raises:
            StackError: They cannot be written.
        """
        lines = (f"{key}={value}\n" for key, value in self.client_environment().items())
        write_private(self.home / "stack.json", json.dumps({"ports": dict(self.ports)}, indent=2))
        write_private(self.home / "credentials.json", json.dumps(asdict(self.credentials), indent=2))
        write_private(self.home / "stack.env", "".join(lines))


@cache
def _java(home: Path) -> dict[str, str]:
    """The Java that Spark is to run on; nothing where there is none: only what needs it is to fail."""
    try:
        return {"HEADRACE_JAVA_HOME": str(java_home(home))}
    except JavaMissingError:
        return {}


def load(home: Path) -> State | None:
    """The stack that `home` remembers; None where there never was one.

    Raises:
        StackError: The files are another user's, or damaged.
    """
    try:
        ports = json.loads((home / "stack.json").read_text())["ports"]
        saved = json.loads((home / "credentials.json").read_text())
        s3, lakefs = KeyPair(**saved.pop("s3")), KeyPair(**saved.pop("lakefs"))
        # A stack made before a role was there gets its password at its next start.
        saved["postgres"] = {role: password() for role in postgres.ROLES} | saved["postgres"]
        return State(home, {**DEFAULT_PORTS, **ports}, Credentials(**saved, s3=s3, lakefs=lakefs))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StackError(
            f"The stack in {home} belongs to another user: {error.filename} cannot be read.",
            remedy="Run as that user, or set HEADRACE_HOME to a folder of your own.",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"The state of the stack in {home} is damaged: {error}.",
            remedy="Restore stack.json and credentials.json there, or set HEADRACE_HOME to a new folder.",
        ) from error


def load_or_make(home: Path, *, choose_free_ports: bool = False) -> State:
    """The stack of `home`, made where there is none.

    A port is, in this order: what its variable says; what the last run used (a free one instead, where
    `choose_free_ports` and another program has taken it); the default, or a free one.

    Raises:
        StackError: A variable does not hold a port, or `home` cannot be used.
    """
    make_folder(home)
    known = load(home)
    remembered = known.ports if known else {}
    spare = iter(free_ports(len(DEFAULT_PORTS)) if choose_free_ports else ())
    ports = {}
    for variable, default in DEFAULT_PORTS.items():
        port = _port_from_environment(variable) or remembered.get(variable)
        if port is None or (choose_free_ports and variable not in os.environ and not is_free(port)):
            port = next(spare, default)
        ports[variable] = port
    return State(home, ports, known.credentials if known else Credentials.generate())


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` at once, readable by its owner only.

    Raises:
        StackError: It cannot be written (permission, disk full).
    """
    unfinished = path.with_name(f".{path.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise StackError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Free some space, or set HEADRACE_HOME to a folder that you own.",
        ) from error


def _port_from_environment(variable: str) -> int | None:
    text = os.environ.get(variable)
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise StackError(f"{variable} is {text!r}, not a port.", remedy="Set it to a number from 1 to 65535.")
    return int(text)
