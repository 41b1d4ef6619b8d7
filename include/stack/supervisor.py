"""The supervisor of the stack: `supervisord`, reached by XML-RPC over a private unix socket.

It restarts what dies, signals process groups and rotates logs. The order of the start, and knowing whether a
server answers, are ours: it only knows processes.
"""

import contextlib
import hashlib
import http.client
import os
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil

from include.stack.processes import HOME, MARK
from include.stack.server import Server, StackError, inherited_environment, last_lines, make_folder
from include.stack.state import State, write_private

WATCHER = "watcher"
# supervisord binds "<path>.<pid>" first, and the kernel takes 107 bytes.
_LONGEST_SOCKET = 95
_RPC_TIMEOUT_S = 20.0

# Paths are relative to the state folder: a `%` or `;` in its name would mean something here.
_HEAD = """\
[unix_http_server]
file={socket}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
logfile=log/supervisord.log
logfile_maxbytes=5MB
logfile_backups=2
pidfile=run/supervisord.pid
umask=077
nocleanup=true
{user}
"""

_PROGRAM = """
[program:{name}]
command={command}
autostart={autostart}
autorestart=true
startsecs=3
startretries=10
stopsignal={signal}
stopasgroup={as_group}
killasgroup=true
stopwaitsecs=20
priority={priority}
redirect_stderr=true
stdout_logfile=log/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor says of one server."""

    name: str
    state: str
    pid: int
    started_at: float
    description: str


class Supervisor:
    """The supervisor of one stack; every call opens its own connection, so threads may share it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.socket = socket_path(state.home)

    def alive(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except OSError:
            return False
        return True

    def states(self) -> dict[str, ProcessState]:
        """Every server it knows, by name; empty when it does not run."""
        try:
            rows = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        except OSError:
            return {}
        return {
            row["name"]: ProcessState(
                row["name"], row["statename"], row["pid"], row["start"], row["description"] or row["spawnerr"]
            )
            for row in rows
        }

    def start_server(self, name: str) -> None:
        """Start it and return at once; harmless when it runs."""
        with contextlib.suppress(xmlrpc.client.Fault):
            self._call("startProcess", name, False)

    def stop_server(self, name: str) -> None:
        """Stop it and wait until it is gone; harmless when it does not run."""
        with contextlib.suppress(xmlrpc.client.Fault, OSError):
            self._call("stopProcess", name, True, timeout_s=60)

    def launch(self, servers: Iterable[Server]) -> None:
        """Start the supervisor itself with nothing running but the health watcher.

        Raises:
            StackError: It does not start; carries what it printed.
        """
        make_folder(self.state.run_folder)
        make_folder(self.state.log_folder)
        make_folder(self.socket.parent)
        if self.socket.parent.is_symlink() or self.socket.parent.stat().st_uid != os.geteuid():
            raise StackError(
                f"{self.socket.parent}, where the supervisor would listen, is not a folder of yours.",
                remedy="Remove it, or set HEADRACE_HOME to a shorter path.",
            )
        self.socket.unlink(missing_ok=True)
        configuration = self.state.run_folder / "supervisord.conf"
        write_private(configuration, self._configuration(servers))
        mark = {HOME: str(self.state.home), MARK: "supervisord"}
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
            env={**inherited_environment(), **mark},
            cwd=self.state.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        deadline = time.monotonic() + 20
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.alive():
                return
            time.sleep(0.05)
        log = self.state.log_folder / "supervisord.log"
        raise StackError(
            f"The supervisor did not start: {done.stdout}{done.stderr}{last_lines(log)}",
            remedy=f"Its log is {log}.",
        )

    def shut_down(self, timeout_s: float = 60) -> None:
        """Stop it and all its servers, and wait until it is gone; harmless when it does not run."""
        try:
            process = psutil.Process(cast(int, self._call("getPID")))
            self._call("shutdown")
        except (OSError, xmlrpc.client.Fault, psutil.NoSuchProcess):
            return
        psutil.wait_procs([process], timeout=timeout_s)

    def _configuration(self, servers: Iterable[Server]) -> str:
        user = "user=root" if os.geteuid() == 0 else ""
        parts = [_HEAD.format(socket=_escape(self.socket), user=user)]
        watch = (sys.executable, "-m", "include.stack.watch")
        parts.append(_program(WATCHER, watch, autostart=True))
        for server in servers:
            launch = (sys.executable, "-m", "include.stack.launch", server.name)
            signal = server.stop_signal.name.removeprefix("SIG")
            # Stopped by the supervisor itself, those that wait for others go first.
            parts.append(_program(server.name, launch, signal=signal, priority=100 + len(server.after)))
        return "".join(parts)

    def log(self, name: str) -> Path:
        """The log of a server."""
        return self.state.log_folder / f"{name}.log"

    def _call(self, method: str, *arguments: object, timeout_s: float = _RPC_TIMEOUT_S) -> object:
        transport = _UnixTransport(self.socket, timeout_s)
        with xmlrpc.client.ServerProxy("http://supervisor", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def _program(
    name: str, command: tuple[str, ...], *, autostart: bool = False, signal: str = "TERM", priority: int = 999
) -> str:
    return _PROGRAM.format(
        name=name,
        command=_escape(shlex.join(command)),
        autostart=str(autostart).lower(),
        signal=signal,
        # The postmaster tells its children itself; SIGINT to a backend would only cancel its query.
        as_group=str(signal == "TERM").lower(),
        priority=priority,
    )


def socket_path(home: Path) -> Path:
    """Where the supervisor listens: in `home`, or in a short private folder where that path is too long."""
    path = home / "run" / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    mark = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    # Not TMPDIR, which another shell of the same user may not have.
    return Path("/tmp") / f"headrace-{os.geteuid()}-{mark}" / "supervisor.sock"  # noqa: S108 - owner checked


def _escape(value: object) -> str:
    """`supervisord` reads `%(name)s` in its configuration."""
    return str(value).replace("%", "%%")


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path, self._timeout_s = path, timeout_s

    def make_connection(self, _host: object) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._timeout_s)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
