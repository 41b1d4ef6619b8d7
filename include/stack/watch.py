"""The health watcher: kills a server that is alive but does not answer; the supervisor restarts it."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from include.stack import inventory
from include.stack.processes import HOME
from include.stack.server import Server
from include.stack.state import load
from include.stack.supervisor import ProcessState, Supervisor

INTERVAL_S = 3.0
# A machine under load answers late, and killing what is only slow makes it slower: at 15 s a busy API server
# was killed in the middle of a run. What dies is restarted by the supervisor; this is for what truly hangs.
SILENCE_S = float(os.environ.get("HEADRACE_SILENCE_S") or 60)
# Recovery after a power cut may take its time before the first answer.
FIRST_ANSWER_S = 300.0


@dataclass
class Watch:
    """What is known of one process of one server; a new pid starts anew."""

    pid: int
    since: float = field(default_factory=time.monotonic)
    answered_at: float | None = None

    def hangs(self, answers: bool, now: float) -> bool:
        """Take in the newest check and say whether the process is to be killed."""
        if answers:
            self.answered_at = now
            return False
        if self.answered_at is None:
            return now - self.since > FIRST_ANSWER_S
        return now - self.answered_at > SILENCE_S


def look(
    servers: Mapping[str, Server], states: Mapping[str, ProcessState], watches: dict[str, Watch]
) -> None:
    """Check every running server once and kill the group of each that hangs."""
    with ThreadPoolExecutor(len(servers)) as pool:
        answers = dict(zip(servers, pool.map(lambda server: server.health(), servers.values()), strict=True))
    for name, server in servers.items():
        process = states.get(name)
        if process is None or process.state not in ("RUNNING", "STARTING") or not process.pid:
            watches.pop(name, None)
            continue
        if name not in watches or watches[name].pid != process.pid:
            watches[name] = Watch(process.pid)
        # Silent because what it needs is silent: it is not the one to be killed.
        well = answers[name] or not all(answers[other] for other in server.after)
        if answers[name] and watches[name].answered_at is None:
            _say(f"{name} (pid {process.pid}) answers")
        if watches[name].hangs(well, time.monotonic()):
            del watches[name]
            _say(f"{name} (pid {process.pid}) is alive and does not answer: killing it")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _say(what: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {what}\n")


def main(home: Path) -> None:
    """Watch the stack of `home` until stopped, or until its supervisor is gone."""
    state = load(home)
    if state is None:
        raise SystemExit(f"There is no stack in {home}.")
    supervisor, servers = Supervisor(state), inventory.servers(state)
    watches: dict[str, Watch] = {}
    parent = os.getppid()
    while os.getppid() == parent:
        look(servers, supervisor.states(), watches)
        time.sleep(INTERVAL_S)


if __name__ == "__main__":
    main(Path(os.environ[HOME]))
