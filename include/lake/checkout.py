"""Bytes from the lake: the objects of a commit under a prefix, as a folder of read-only files."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from include.lake.connection import Lake
from include.spec.refs import CommitRef, DraftRef


@dataclass(frozen=True)
class Checkout:
    """A folder that mirrors lake paths; live until closed (use `with`), or kept when made `to` a folder."""

    folder: Path

    def path(self, lake_path: str) -> Path:
        """The local file or folder of a lake path."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the folder up; the cache keeps the bytes as long as there is room."""
        raise NotImplementedError

    def __enter__(self) -> "Checkout":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checkout(lake: Lake, ref: CommitRef | DraftRef, prefix: str = "", *, to: Path | None = None) -> Checkout:
    """Make the objects under a prefix local, verified; of a draft, what is staged too."""
    raise NotImplementedError
