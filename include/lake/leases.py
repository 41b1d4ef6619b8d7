"""Who uses the cache now: one folder per live checkout, held by a file lock that dies with its process."""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

LEASE_FILE = "lease"
FILES_FOLDER = "files"


class Lease:
    """A folder for one checkout, and the contents that it counts on.

    To be made while the `plan` lock of the cache is held, or another process could take it for a dead one.

    Args:
        folder: A path that does not exist.
        wanted: Sizes of the contents by key.
    """

    def __init__(self, folder: Path, wanted: Mapping[str, int]) -> None:
        self.folder = folder
        self.files = folder / FILES_FOLDER
        folder.mkdir(mode=0o700)
        self._lock = os.open(folder / LEASE_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (folder / "wanted.json").write_text(json.dumps(dict(wanted)))
        self.files.mkdir()

    def release(self) -> None:
        """Delete the folder and give up the claim; again is harmless."""
        if self._lock < 0:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def live_leases(folder: Path, *, clear: bool = True) -> dict[str, int]:
    """What all live checkouts count on, by key; folders of dead processes are deleted, unless told not to."""
    wanted: dict[str, int] = {}
    for lease in folder.iterdir():
        if _is_dead(lease):
            if clear:
                shutil.rmtree(lease, ignore_errors=True)
            continue
        with suppress(OSError, ValueError):  # released a moment ago
            wanted |= json.loads((lease / "wanted.json").read_text())
    return wanted


def _is_dead(lease: Path) -> bool:
    try:
        with (lease / LEASE_FILE).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
