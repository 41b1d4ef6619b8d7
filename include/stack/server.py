"""What a server of the stack is, and one server run for as long as a `with` block lasts."""

import contextlib
import os
import pwd
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from include.spec.errors import HeadraceError

POLL_S = 0.1
LAST_LINES = 20

# Nothing else of the caller's environment reaches a server: an AIRFLOW__* or AWS_* variable left in a shell
# would otherwise change what the stack is.
_INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|JAVA_HOME|SSL_CERT_\w+|REQUESTS_CA_BUNDLE"
    r"|HTTPS?_PROXY|https?_proxy|CUDA_\w+|OMP_NUM_THREADS|XDG_\w+|HEADRACE_\w+"
)


class StackError(HeadraceError):
    """The stack, or one server of it, cannot do what was asked."""


def _nothing() -> None:
    """Most servers need no step before or after their start."""


@dataclass(frozen=True)
class Server:
    """One server: how it is started, where its state lies, and how to know that it answers.

    Attributes:
        name: Names its log, its folder and its process.
        command: What is executed; never holds a secret, since every user of the machine can read it.
        environment: Added to `inherited_environment()`; this is where secrets go.
        folder: Its working folder; created with mode 0700.
        url: Where it is reached, without credentials.
        health: Whether it answers now; returns within a few seconds and never raises.
        after: Names of the servers that must be healthy, and settled, before it starts.
        ports: Every port it listens on, by the variable that sets it.
        prepare: Run before each start; harmless when repeated.
        settle: Run once it is healthy and before those that wait for it start; harmless when repeated.
        user: The user it runs as; the caller's where None.
        stop_signal: What asks it to stop cleanly.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    url: str
    health: Callable[[], bool] = field(repr=False)
    after: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    prepare: Callable[[], None] = field(default=_nothing, repr=False)
    settle: Callable[[], None] = field(default=_nothing, repr=False)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM


def inherited_environment() -> dict[str, str]:
    """The part of the caller's environment that servers get: the system's, and every `HEADRACE_*`.

    Loopback never goes through a proxy.
    """
    kept = {key: value for key, value in os.environ.items() if _INHERITED.fullmatch(key)}
    exempt = [*filter(None, os.environ.get("NO_PROXY", "").split(",")), "127.0.0.1", "localhost"]
    kept["NO_PROXY"] = kept["no_proxy"] = ",".join(dict.fromkeys(exempt))
    return kept


def make_folder(folder: Path, user: str | None = None) -> None:
    """Make `folder` with mode 0700 and give it to `user`; others may pass through where they could before.

    Raises:
        StackError: It cannot be made or written (permission, disk full).
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700 | (folder.stat().st_mode & stat.S_IXOTH))
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
    except OSError as error:
        raise StackError(
            f"The folder {folder} cannot be made or written: {error.strerror}.",
            remedy="Free some space, or set HEADRACE_HOME to a folder that you own.",
        ) from error


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that make a process another user's, with none of the caller's groups."""

    user: int
    group: int
    extra_groups: list[int]


def identity(user: str | None) -> Identity:
    """How to run as `user`; as the caller where it is None."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def last_lines(log: Path, n: int = LAST_LINES) -> str:
    """The last `n` lines of a log; empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 64_000))
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-n:])


def start_failure(server: Server, log: Path, what: str) -> StackError:
    """The error for a server that `what` ("stopped with exit code 1"): its last log lines and the remedy."""
    return StackError(
        f"{server.name} {what}. The last lines of its log:\n{last_lines(log)}\n",
        remedy=f"The whole log is {log}.",
    )


@contextlib.contextmanager
def running(server: Server, *, timeout_s: float = 60) -> Iterator[Server]:
    """Run `server` in a process group of its own while the block lasts, from healthy to stopped.

    Raises:
        StackError: It stopped, or was not healthy within `timeout_s`; carries its last log lines.
    """
    server.prepare()
    make_folder(server.folder, server.user)
    log = server.folder / f"{server.name}.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            server.command,
            cwd=server.folder,
            env={**inherited_environment(), **server.environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            **identity(server.user),
        )
    try:
        _wait_healthy(server, process, log, timeout_s)
        server.settle()
        yield server
    finally:
        _stop(process, server.stop_signal)


def _wait_healthy(server: Server, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not server.health():
        if process.poll() is not None:
            raise start_failure(server, log, f"stopped with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise start_failure(server, log, f"did not answer within {timeout_s:.0f} s")
        time.sleep(POLL_S)


def _stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals, grace_s: float = 20) -> None:
    """Ask the leader to stop, then kill what is left of its group."""
    process.send_signal(stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
