"""Start and stop the stack: each server as soon as those it waits for are healthy, all others beside it."""

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from include.stack import inventory, processes
from include.stack.launch import write_order
from include.stack.ports import holder, is_free
from include.stack.server import POLL_S, Server, StackError, make_folder, start_failure
from include.stack.state import State, load, load_or_make
from include.stack.supervisor import WATCHER, ProcessState, Supervisor

# Told of every step: server and what it does now.
Report = Callable[[str, str], None]

WAITING, PREPARING, STARTING, SETTLING = "waiting", "preparing", "starting", "settling"
HEALTHY, FAILED = "healthy", "failed"
# A server that needs a third process within one start will need a fourth.
_STARTS = 3


def _silent(server: str, step: str) -> None:
    """For callers that show no progress."""


def up(
    home: Path,
    *,
    only: tuple[str, ...] = (),
    choose_free_ports: bool = False,
    timeout_s: float = 180,
    report: Report = _silent,
) -> State:
    """Bring the stack of `home`, or the servers `only` with what they wait for, to health; idempotent.

    Args:
        home: The state folder; made where it is not there.
        only: Names of servers or groups; empty for all.
        choose_free_ports: Take a free port for each that is not set by its variable and not in use by us.
        timeout_s: For each server, from its start to health.
        report: Called from several threads.

    Raises:
        StackError: A port is taken, a server failed, the disk is full, the folder is not ours.
    """
    home = home.resolve()
    make_folder(home)
    with _alone(home):
        state, supervisor = _supervised(home, choose_free_ports)
        chosen = inventory.choose(inventory.servers(state), only)
        running = {name for name, process in supervisor.states().items() if process.pid}
        _check_ports(server for name, server in chosen.items() if name not in running)
        state.save()
        if not supervisor.alive():
            supervisor.launch(inventory.servers(state).values())
        _Start(supervisor, chosen, timeout_s, report).run()
    return state


def down(home: Path, *, report: Report = _silent) -> int:
    """Stop everything of the stack in `home`; say how many processes had to be ended one by one.

    Harmless when nothing runs; also ends what a killed supervisor left.
    """
    home = home.resolve()
    if not home.exists():
        return 0
    with _alone(home):
        state = load(home)
        if state is not None:
            _stop_in_order(Supervisor(state), inventory.servers(state), report)
        return len(_sweep(home))


def _supervised(home: Path, choose_free_ports: bool) -> tuple[State, Supervisor]:
    """The state that counts: the running supervisor's, else a new one once all that was left is ended."""
    known = load(home)
    if known is not None and Supervisor(known).alive():
        asked = load_or_make(home).ports
        for variable, port in known.ports.items():
            if asked[variable] != port:
                raise StackError(
                    f"The stack runs with {variable}={port}, and {asked[variable]} is asked for.",
                    remedy="Run `headrace down` first, or unset the variable.",
                )
        return known, Supervisor(known)
    _sweep(home)
    state = load_or_make(home, choose_free_ports=choose_free_ports)
    return state, Supervisor(state)


def _sweep(home: Path) -> list[processes.Marked]:
    """End every process of the stack that no supervisor answers for."""
    return processes.stop(processes.marked(home), inventory.stop_signals())


def _check_ports(servers: Iterator[Server]) -> None:
    for server in servers:
        for variable, port in server.ports.items():
            if is_free(port):
                continue
            by = holder(port)
            raise StackError(
                f"Port {port}, which {server.name} needs, is taken{f' by {by}' if by else ''}.",
                remedy=f"Set {variable} to a free port, or run `headrace up --free-ports`.",
            )


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One `up` or `down` at a time; the kernel drops the lock when its holder dies."""
    try:
        lock = (home / ".lock").open("w")
    except OSError as error:
        raise StackError(
            f"{home} cannot be written: {error.strerror}.",
            remedy="Free some space, or set HEADRACE_HOME to a folder that you own.",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"Another `headrace up` or `headrace down` is at work in {home}.", remedy="Wait for it."
            ) from None
        yield


def _stop_in_order(supervisor: Supervisor, servers: Mapping[str, Server], report: Report) -> None:
    """Stop the watcher, then each server once none that waits for it is left, side by side."""
    states = supervisor.states()
    if not states:
        return
    supervisor.stop_server(WATCHER)
    left = {name for name in servers if name in states and states[name].state != "STOPPED"}
    with ThreadPoolExecutor(len(servers)) as pool:
        while left:
            needed = {other for name in left for other in servers[name].after}
            tier = left - needed
            for name in tier:
                report(name, "stopping")
            list(pool.map(supervisor.stop_server, tier))
            for name in tier:
                report(name, "stopped")
            left -= tier
    supervisor.shut_down()


class _Start:
    """One start: a thread per server, each waiting for the ones before it."""

    def __init__(
        self, supervisor: Supervisor, servers: Mapping[str, Server], timeout_s: float, report: Report
    ) -> None:
        self.supervisor, self.servers, self.timeout_s, self.report = supervisor, servers, timeout_s, report
        self.ready = {name: threading.Event() for name in servers}
        self.failed = threading.Event()

    def run(self) -> None:
        """Return when all are healthy.

        Raises:
            StackError: The first failure.
        """
        with ThreadPoolExecutor(len(self.servers)) as pool:
            pending = [pool.submit(self._bring_up, server) for server in self.servers.values()]
            try:
                for future in pending:
                    future.result()
            finally:
                self.failed.set()

    def _bring_up(self, server: Server) -> None:
        self.report(server.name, WAITING)
        for name in server.after:
            while not self.ready[name].wait(POLL_S):
                if self.failed.is_set():
                    return
        try:
            if not self._start(server):
                return
            self.report(server.name, SETTLING)
            server.settle()
        except BaseException:
            self.failed.set()
            self.report(server.name, FAILED)
            raise
        self.report(server.name, HEALTHY)
        self.ready[server.name].set()

    def _start(self, server: Server) -> bool:
        if not self._process(server).pid:
            self.report(server.name, PREPARING)
            server.prepare()
            if self.failed.is_set():
                return False
            make_folder(server.folder, server.user)
            write_order(server, self.supervisor.state.run_folder, self.supervisor.state.home)
            self.report(server.name, STARTING)
            self.supervisor.start_server(server.name)
        return self._await_health(server)

    def _process(self, server: Server) -> ProcessState:
        process = self.supervisor.states().get(server.name)
        if process is None:
            raise StackError(
                f"The supervisor is gone, or does not know {server.name}.",
                remedy="Run `headrace down` and then `headrace up`.",
            )
        return process

    def _await_health(self, server: Server) -> bool:
        """Whether it is healthy; False when another server's failure ended the start."""
        log = self.supervisor.log(server.name)
        deadline = time.monotonic() + self.timeout_s
        pids: set[int] = set()
        while not server.health():
            process = self._process(server)
            pids |= {process.pid} - {0}
            if process.state == "FATAL" or len(pids) >= _STARTS:
                failure = start_failure(server, log, "stops again as soon as it is started")
                self.supervisor.stop_server(server.name)
                raise failure
            if time.monotonic() > deadline:
                raise start_failure(server, log, f"did not answer within {self.timeout_s:.0f} s")
            if self.failed.is_set():
                return False
            time.sleep(POLL_S)
        return True
