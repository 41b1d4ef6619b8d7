"""Which processes are this stack's: found by the mark they carry, never by name, and stopped without a trace.

Every server is started with `HEADRACE_HOME` and `HEADRACE_SERVER` in its environment, and so is what it
starts in turn. That survives a supervisor that was killed, a parent that died, and a pid that went to another
program.
"""

import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

MARK = "HEADRACE_SERVER"
HOME = "HEADRACE_HOME"
POSTGRES = "postgres"

Marked = tuple[psutil.Process, str]


def marked(home: Path) -> list[Marked]:
    """Every live process of the stack in `home` with the name of its server; never the caller's own line."""
    skip = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    found = []
    for process in psutil.process_iter():
        if process.pid in skip:
            continue
        try:
            name = _server_of(process, home)
            if name is not None and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process, name))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _server_of(process: psutil.Process, home: Path) -> str | None:
    environment = process.environ()
    if environment.get(HOME) == str(home):
        return environment.get(MARK)
    # The children of PostgreSQL write their title over their environment; they work in its data folder.
    if process.name() == POSTGRES and Path(process.cwd()) == home / POSTGRES / "data":
        return POSTGRES
    return None


def stop(
    found: Iterable[Marked], signals: Mapping[str, signal.Signals] | None = None, grace_s: float = 10
) -> list[Marked]:
    """Ask each to stop, kill what has not after `grace_s`, and say which were there.

    Args:
        found: From `marked`.
        signals: The stop signal by server where it is not SIGTERM.
        grace_s: How long they may take; 0 kills at once.
    """
    found = list(found)
    if grace_s > 0:
        for process, name in found:
            _signal(process, (signals or {}).get(name, signal.SIGTERM))
    _, alive = psutil.wait_procs([process for process, _ in found], timeout=grace_s)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=10)
    return found


def memory_bytes(pid: int) -> int:
    """What a process and its descendants hold: shared pages counted in proportion (PSS)."""
    total = 0
    try:
        leader = psutil.Process(pid)
        tree = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        # psutil compares the creation time first, so a pid that another program got is left alone.
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
