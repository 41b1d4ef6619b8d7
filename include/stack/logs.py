"""Read the log of a server, across its rotation."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from include.stack import inventory
from include.stack.server import StackError
from include.stack.state import load
from include.stack.supervisor import WATCHER, Supervisor


def tail(
    home: Path, name: str, *, lines: int = 50, follow: bool = False, poll_s: float = 0.3
) -> Iterator[str]:
    """The last `lines` of the log of server `name`, then, with `follow`, each new line, for ever.

    Raises:
        StackError: There is no stack, or no such server in it.
    """
    state = load(home.resolve())
    if state is None:
        raise StackError(f"There is no stack in {home}.", remedy="Run `headrace up`, or set HEADRACE_HOME.")
    names = [*inventory.servers(state), WATCHER, "supervisord"]
    if name not in names:
        raise StackError(f"There is no server named {name!r}.", remedy=f"Name one of: {', '.join(names)}.")
    log = Supervisor(state).log(name)
    log.touch(mode=0o600)
    stream = log.open(errors="replace")
    try:
        yield from (line.rstrip("\n") for line in deque(stream, maxlen=lines))
        while follow:
            line = stream.readline()
            if line:
                yield line.rstrip("\n")
            elif log.exists() and log.stat().st_ino != Path(f"/proc/self/fd/{stream.fileno()}").stat().st_ino:
                stream.close()
                stream = log.open(errors="replace")
            else:
                time.sleep(poll_s)
    finally:
        stream.close()
