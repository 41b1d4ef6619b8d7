"""Changes that are held because their row breaks a rule: how many, and where in the log they belong."""

from collections.abc import Collection, Sequence

from include.audit.tables import HELD, Table

Place = tuple[int, int]


def held_files(paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The files of held changes among the paths of a commit, by the folder of their table in quarantine."""
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        matched = HELD.fullmatch(path)
        if matched:
            found.setdefault(f"quarantine/{matched[1]}", []).append(path)
    return {table: tuple(files) for table, files in found.items()}


def places(table: Table) -> list[Place | None]:
    """Where each held change of a table belongs in the log; None for a row that the log begins with."""
    import pyarrow.parquet as pq

    found: list[Place | None] = []
    for file in sorted(table.folder.glob("*.parquet")):
        read = pq.read_table(file, columns=["commit_lsn", "sequence"])
        pairs = zip(read.column("commit_lsn").to_pylist(), read.column("sequence").to_pylist(), strict=True)
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
            pairs = zip(
                ends.column("commit_lsn").to_pylist(), ends.column("sequence").to_pylist(), strict=True
            )
            count -= sum(pair in places for pair in pairs)
    return count
