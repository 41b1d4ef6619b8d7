"""How far each source has been read, as one document in the same commit as the data."""

from collections.abc import Sequence

from include.lake.connection import Lake
from include.spec.refs import CommitRef, DraftRef, Position, Watermark


def read_watermark(lake: Lake, ref: CommitRef | DraftRef, source: str) -> Watermark | None:
    """The watermark of a source at a commit or on a draft; None before its first publication."""
    raise NotImplementedError


def write_watermark(
    lake: Lake, draft: DraftRef, source: str, position: Position | Sequence[Position]
) -> Watermark:
    """Write the watermark on the draft: it becomes visible with the data, or not at all."""
    raise NotImplementedError
