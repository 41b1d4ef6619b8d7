"""Files of the state folder that grow by a line for each thing that happened, whichever process saw it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from include.settings import home_folder

# A line for each try of a task, and for each failure that someone must know of.
TIMINGS, ALERTS = "timings.jsonl", "alerts.jsonl"


def append(name: str, entry: Mapping[str, Any]) -> str:
    """Add an entry to a journal, at once or not at all.

    Args:
        name: File in the state folder; made where it is not there, for the owner of the stack alone.
        entry: What JSON can hold.

    Returns:
        The line.
    """
    line = json.dumps(entry, ensure_ascii=False)
    # One write of a file opened so is atomic, however many processes append.
    descriptor = os.open(home_folder() / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(f"{line}\n".encode())
    return line


def entries(home: Path, name: str) -> Iterator[dict[str, Any]]:
    """The entries of a journal, oldest first; none where there is no such file.

    A last line that a process is still writing, or died in, is left out.
    """
    path = home / name
    if not path.is_file():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)
