"""Changes that are held because their row breaks a rule: how many, and where in the log they belong."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from include.audit.tables import HELD, Table, files_by_table

if TYPE_CHECKING:
    import pyarrow as pa

Place = tuple[int, int]


def held_files(paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The files of held changes among the paths of a commit, by the folder of their table in quarantine."""
    return files_by_table(paths, HELD)


def places(table: Table) -> list[Place | None]:
    """Where each held change of a table belongs in the log; None for a row that the log begins with."""
    import pyarrow.parquet as pq

    found: list[Place | None] = []
    for file in sorted(table.folder.glob("*.parquet")):
        pairs = _pairs(pq.read_table(file, columns=["commit_lsn", "sequence"]))
        found += [None if sequence is None else (lsn, sequence) for lsn, sequence in pairs]
    return found


def whole_changes(table: Table, held: Collection[Place | None]) -> int:
    """Changes that a log holds whole: where a held one moved a row to another key, the log has but its end.

    Args:
        table: The files of one change log.
        held: Places of the held changes of the table.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    count, places = 0, {place for place in held if place}
    for file in sorted(table.folder.glob("*.parquet")):
        count += pq.read_metadata(file).num_rows
        if places:
            read = pq.read_table(file, columns=["operation", "commit_lsn", "sequence"])
            ends = read.filter(pc.equal(read.column("operation").cast("string"), "delete"))
            count -= sum(pair in places for pair in _pairs(ends))
    return count


def _pairs(changes: "pa.Table") -> "zip[tuple[int, int | None]]":
    """Position and place in its transaction of each change."""
    lsns, sequences = changes.column("commit_lsn"), changes.column("sequence")
    return zip(lsns.to_pylist(), sequences.to_pylist(), strict=True)
