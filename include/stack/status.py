"""What each server of a stack does now."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from include.stack import inventory
from include.stack.processes import memory_bytes
from include.stack.server import Server
from include.stack.state import load
from include.stack.supervisor import ProcessState, Supervisor

# A server that has not answered for that long is not starting any more.
_STARTING_S = 60
_WORDS = {"STOPPED": "stopped", "STOPPING": "stopping", "BACKOFF": "failing", "EXITED": "failing"}


@dataclass(frozen=True)
class ServerStatus:
    """One line of `headrace status`.

    Attributes:
        state: healthy, starting, unanswering (alive, does not answer), failing (dies again and again), failed
            (given up), stopping or stopped.
        memory_bytes: Of the process and its descendants, shared pages counted in proportion.
    """

    name: str
    state: str
    url: str
    pid: int
    memory_bytes: int
    uptime_s: float


def status(home: Path) -> list[ServerStatus]:
    """One entry per server of the stack in `home`, in the inventory's order; none where none was made."""
    state = load(home.resolve())
    if state is None:
        return []
    known = Supervisor(state).states()
    servers = list(inventory.servers(state).values())
    with ThreadPoolExecutor(len(servers)) as pool:
        return list(pool.map(lambda server: _of(server, known.get(server.name)), servers))


def _of(server: Server, process: ProcessState | None) -> ServerStatus:
    if process is None or not process.pid:
        word = "stopped" if process is None else _WORDS.get(process.state, "failed")
        return ServerStatus(server.name, word, server.url, 0, 0, 0.0)
    uptime_s = max(0.0, time.time() - process.started_at)
    silent = "starting" if uptime_s < _STARTING_S else "unanswering"
    return ServerStatus(
        server.name,
        _WORDS.get(process.state) or ("healthy" if server.health() else silent),
        server.url,
        process.pid,
        memory_bytes(process.pid),
        uptime_s,
    )
