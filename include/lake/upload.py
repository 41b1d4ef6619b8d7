"""Bytes to the lake: straight to the object store by pre-signed URLs, then linked on the draft."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from include.lake.connection import Lake
from include.spec.refs import DraftRef

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Uploaded:
    """What an upload staged: lake paths in order, and how many bytes travelled."""

    paths: tuple[str, ...]
    size_bytes: int
    sent_bytes: int
    rows: int | None


def upload(
    lake: Lake,
    draft: DraftRef,
    source: Path | Sequence[Path] | Mapping[str, Path],
    prefix: str,
    *,
    progress: Progress | None = None,
) -> Uploaded:
    """Stage files on the draft: a folder (names kept), files (by name), or {name under the prefix: file}."""
    raise NotImplementedError
