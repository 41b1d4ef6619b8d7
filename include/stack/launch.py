"""Becomes a server: what the supervisor executes, so that no secret stands in its configuration.

`python -m include.stack.launch NAME` reads `$HEADRACE_HOME/run/NAME.json` (mode 0600), removes what a killed
predecessor left running, drops to the server's user, and executes the server in its own place.
"""

import json
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from include.stack.processes import HOME, MARK, marked, stop
from include.stack.server import Server, inherited_environment
from include.stack.state import write_private


@dataclass(frozen=True)
class Order:
    """How one server is started: the part of a `Server` that can be written down."""

    name: str
    command: list[str]
    environment: dict[str, str]
    folder: str
    user: str | None


def write_order(server: Server, run_folder: Path, home: Path) -> None:
    """Write down how `server` is started; takes effect at its next start."""
    mark = {HOME: str(home), MARK: server.name}
    order = {
        "name": server.name,
        "command": list(server.command),
        "environment": {**inherited_environment(), **server.environment, **mark},
        "folder": str(server.folder),
        "user": server.user,
    }
    write_private(run_folder / f"{server.name}.json", json.dumps(order, indent=2))


def main(home: Path, name: str) -> None:
    """Become the server `name` of the stack in `home`; does not return."""
    order = Order(**json.loads((home / "run" / f"{name}.json").read_text()))
    # Idle workers of a killed scheduler would wait for ever; a busy backend of a killed PostgreSQL holds the
    # memory without which the next one refuses to start.
    left = [(process, of) for process, of in marked(home) if of == name]
    if left:
        sys.stderr.write(f"{name}: killing {len(left)} processes that its predecessor left\n")
        stop(left, grace_s=0)
    os.chdir(order.folder)
    os.umask(0o077)
    if order.user is not None:
        entry = pwd.getpwnam(order.user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.execve(order.command[0], order.command, order.environment)  # noqa: S606 - this is its purpose


if __name__ == "__main__":
    main(Path(os.environ[HOME]), sys.argv[1])
