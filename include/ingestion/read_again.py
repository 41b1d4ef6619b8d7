"""One origin of a table, read once more from the lake itself: a file that is gone, or rows to be replayed."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from include.ingestion import contracts
from include.ingestion.held_rows import held_rows
from include.ingestion.quarantine import Reading, whole
from include.ingestion.snapshot import FOLDER, PART_ROWS, Manifest, Part, write_parts
from include.lake import Lake, checkout
from include.spec.refs import CommitRef, DraftRef
from include.spec.source import Source, Table

_NEVER = 2**63


@dataclass(frozen=True)
class Held:
    """What the lake holds of one origin.

    Args:
        origin: The file; empty for a table that is read as a whole.
        published: Its files of the snapshot.
        apart: Its files of the quarantine.
    """

    origin: str
    published: tuple[Part, ...]
    apart: tuple[Part, ...]

    @property
    def version(self) -> str:
        """The store's mark of the file's content when it was read."""
        return next((part.version for part in (*self.published, *self.apart)), "")


def held_origins(snapshot: Manifest | None, apart: Manifest | None) -> Iterator[Held]:
    """The origins of a table, in order, each with all that the lake holds of it."""
    published = snapshot.parts if snapshot else ()
    beside = apart.parts if apart else ()
    for origin in sorted({part.origin for part in (*published, *beside)}):
        yield Held(
            origin,
            tuple(part for part in published if part.origin == origin),
            tuple(part for part in beside if part.origin == origin),
        )


def read_again(
    lake: Lake,
    draft: DraftRef,
    source: Source,
    table: Table,
    held: Held,
    reading: Reading,
    to: Path,
    number: int,
) -> tuple[Part, ...]:
    """Put an origin's rows through the contract as it is now; what is good of them is written.

    Args:
        lake: Where.
        draft: What `open_draft` returned; the rows are read where it began.
        source: The declaration of the source.
        table: The declaration of the table.
        held: What the lake holds of the origin.
        reading: Takes out what breaks the contract.
        to: Where the files go.
        number: Of the origin in this reading.

    Raises:
        ContractError: The lake never read a column that must not be empty.
    """
    at = CommitRef(draft.repository, draft.base)
    shown = held.origin or whole(table)
    with ExitStack() as stack:

        def here(prefix: str, parts: Sequence[Part]) -> list[Path]:
            paths = [f"{prefix}/{part.name}" for part in parts]
            return [stack.enter_context(checkout(lake, at, path)).path(path) for path in paths]

        published = here(f"{source.prefix(table.name)}/{FOLDER}", held.published)
        rows = held_rows(table, published, here(reading.folder, held.apart), shown)
        origin = reading.origin(shown, number, name=held.origin, version=held.version)
        written = write_parts(
            contracts.arrow_schema(table),
            reading.sieve.passed(rows, origin),
            to,
            (f"{draft.branch}-{number:05d}-{part:05d}.parquet" for part in range(PART_ROWS)),
            part_rows=_NEVER if held.origin else PART_ROWS,
        )
    return tuple(replace(part, origin=held.origin, version=held.version) for part in written)
