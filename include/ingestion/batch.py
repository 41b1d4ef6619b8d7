"""Batch ingestion: whole tables, as they are now, onto a draft of the lake.

Landing is repeatable. A table whose content did not change is not written, whatever was read; a file that
did not change is not even read. So a run over an unchanged source leaves the draft equal to main.
"""

import itertools
import logging
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from include.ingestion import contracts
from include.ingestion.connectors.files import File, FileStore
from include.ingestion.quarantine import Reading, read_manifest, referred_columns
from include.ingestion.read_again import held_origins, read_again
from include.ingestion.row_reads import Reached, opened, write_rows
from include.ingestion.snapshot import FOLDER, MANIFEST, Manifest, Part, write_parts
from include.ingestion.spans import WHAT_IS_NEW, Asked
from include.lake import Lake, discard, upload, write_watermark
from include.lake.remove import remove
from include.settings import Settings
from include.spec.reads import DatabaseTable, Files, RestApi, SqlTable
from include.spec.refs import CommitRef, DraftRef, Landed, Landing, Position
from include.spec.source import Source, Table

# Tables, and files of one table, that are read at once: one computes while the other waits.
WORKERS = 2

logger = logging.getLogger(__name__)

Write = Callable[[Path, Manifest | None, Reading], Manifest]
Values = dict[tuple[str, str], pa.Array]


class _Awaited(Values):
    """Values of tables that are being landed: who asks for those of one waits until it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.landings: dict[str, Future[Landed]] = {}

    def __missing__(self, target: tuple[str, str]) -> pa.Array:
        self.landings[target[0]].result()
        return dict(self)[target]


@dataclass(frozen=True)
class Desk:
    """Where a landing works.

    Args:
        lake: The lake.
        settings: Where the sources are, and the state folder for scratch files.
        draft: What `open_draft` returned.
        source: The declaration of what is landed.
    """

    lake: Lake
    settings: Settings
    draft: DraftRef
    source: Source


def land(desk: Desk, origin: str, asked: Asked = WHAT_IS_NEW) -> Landing:
    """Land all tables that are read together: one database at one instant, one folder of files, one API.

    Holds a few batches in memory, whatever the size of a table.

    Args:
        desk: Where.
        origin: One of `source.origins`.
        asked: What to read of incremental tables.

    Raises:
        ContractError: What arrived is not what is declared; the draft must not be published.
        DatabaseError: The database could not be read.
    """
    started = time.monotonic()
    tables = desk.source.tables_of(origin)
    assert tables, f"{desk.source.name} has no origin {origin}"
    reads = [table.read for table in tables]
    if not isinstance(reads[0], Files):
        landed = _land_rows(desk, origin, reads[0], asked)
    else:
        known: Values = {}
        waves = desk.source.waves(origin)
        landed = tuple(_land_files(desk, table, known) for wave in waves for table in wave)
    return Landing(desk.source.name, origin, landed, time.monotonic() - started, peak_memory_bytes())


def record_positions(lake: Lake, draft: DraftRef, landings: Sequence[Landing]) -> None:
    """Write the watermark of what was landed; nothing where nothing changed, so that main stays as it is."""
    landed = [table for landing in landings for table in landing.tables]
    if any(table.changed for table in landed):
        write_watermark(lake, draft, landings[0].source, [table.position for table in landed])


def peak_memory_bytes() -> int:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _land_rows(
    desk: Desk, origin: str, how: DatabaseTable | SqlTable | RestApi, asked: Asked
) -> tuple[Landed, ...]:
    known = _Awaited()
    reached: dict[str, Reached | None] = {}
    with opened(desk.settings, how, origin) as (reader, at_once), ThreadPoolExecutor(at_once) as workers:

        def read(table: Table) -> Landed:
            def write(folder: Path, base: Manifest | None, reading: Reading) -> Manifest:
                manifest, reached[table.name] = write_rows(desk, table, reader, folder, base, reading, asked)
                return manifest

            def position(manifest: Manifest) -> Reached:
                return reached[table.name] or ("snapshot", manifest.digest)

            return land_table(desk, table, write, position, known)

        for table in _queue(desk.source, origin):
            known.landings[table.name] = workers.submit(read, table)
        try:
            landed = {name: landing.result() for name, landing in known.landings.items()}
        finally:
            for landing in known.landings.values():
                landing.cancel()
    return tuple(landed[table.name] for table in desk.source.tables_of(origin))


def _queue(source: Source, origin: str) -> list[Table]:
    """Tables in the order in which they are begun: one that waits for another comes after it.

    Those that others wait for, and those that wait, come first: the others are read meanwhile.
    """
    tables = [table for wave in source.waves(origin) for table in wave]
    return sorted(tables, key=lambda table: not (table.refers_to or referred_columns(source, table)))


def _land_files(desk: Desk, table: Table, known: Values) -> Landed:
    assert isinstance(table.read, Files)
    store = FileStore(desk.settings, table.read.bucket, table.read.sftp)
    files = store.matching(table.read)
    if not files and not table.may_be_empty:
        raise contracts.violated(
            store.shown(table.read), "matches no file", accepted="at least one file", table=table.name
        )

    def write(folder: Path, base: Manifest | None, reading: Reading) -> Manifest:
        kept = _kept(table, base)
        # What is known of other tables may have changed, and the values that others ask for are in the rows.
        again = table.refers_to or referred_columns(desk.source, table)
        schema = contracts.arrow_schema(table)

        def read(item: tuple[int, File]) -> tuple[Part, ...]:
            number, file = item
            held = kept.get(file.path)
            if held is not None and held.version == file.version and not again:
                reading.keep([file.path])
                return (held,)
            name = f"{desk.draft.branch}-{number:05d}.parquet"
            origin = reading.origin(file.url, number, name=file.path, version=file.version)
            batches = reading.sieve.passed(store.read(table, file), origin)
            # One part per file, however long: the next run keeps or replaces it with its file.
            parts = write_parts(schema, batches, folder, iter([name]), part_rows=_NEVER)
            return tuple(replace(part, origin=file.path, version=file.version) for part in parts)

        with ThreadPoolExecutor(WORKERS) as workers:
            read_parts = list(itertools.chain.from_iterable(workers.map(read, enumerate(files))))
        # What the department cleans away later was delivered once: the lake keeps it.
        delivered = {file.path for file in files}
        gone = [held for held in held_origins(base, reading.base) if held.origin not in delivered]
        as_declared = base is not None and base.contract == table.contract_hash
        for number, held in enumerate(gone, len(files)):
            if as_declared and not again:
                reading.keep([held.origin])
                read_parts += held.published
            else:
                at = (desk.lake, desk.draft, desk.source, table)
                read_parts += read_again(*at, held, reading, folder, number)
        return Manifest(table.contract_hash, tuple(sorted(read_parts, key=lambda part: part.origin)))

    return land_table(desk, table, write, lambda manifest: ("files", manifest.parts[-1].origin), known)


_NEVER = 2**63


def land_table(
    desk: Desk,
    table: Table,
    write: Write,
    position: Callable[[Manifest], tuple[str, str]],
    known: Values,
) -> Landed:
    """Make a table's snapshot, and what is in quarantine beside it, exactly what a reading gave.

    Args:
        desk: Where.
        table: The declaration.
        write: Writes the files of the snapshot to a folder, given the manifest that main has.
        position: Kind and value of the watermark.
        known: Values of other tables that rules refer to; this table's are added.

    Raises:
        ContractError: The rows are not what is declared.
    """
    started = time.monotonic()
    prefix = desk.source.prefix(table.name)
    folder = f"{prefix}/{FOLDER}"
    discard(desk.lake, desk.draft, folder)
    base = read_manifest(desk.lake, CommitRef(desk.draft.repository, desk.draft.base), folder)
    scratch = desk.settings.home / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix=f"{table.name}-") as local:
        published, apart = Path(local) / "published", Path(local) / "apart"
        published.mkdir()
        apart.mkdir()
        reading = Reading(desk.lake, desk.draft, desk.source, table, apart, known)
        manifest = write(published, base, reading)
        balance = reading.settle(manifest, base)
        contracts.check_rows(table, manifest.rows, prefix)
        snapshot_changed = base is None or manifest.digest != base.digest
        if snapshot_changed:
            _stage(desk, folder, published, manifest, base)
    changed = snapshot_changed or balance.changed
    for column in referred_columns(desk.source, table):
        known[table.name, column] = reading.sieve.values(column)
    kind, value = position(manifest) if manifest.parts else ("snapshot", manifest.digest)
    landed = Landed(
        table=prefix,
        rows=manifest.rows,
        size_bytes=manifest.size_bytes,
        files=len(manifest.parts),
        changed=changed,
        seconds=time.monotonic() - started,
        position=Position(kind=kind, value=value, table=table.name),  # type: ignore[arg-type]
        quarantined=balance.quarantined,
        rows_in=balance.rows_in,
    )
    logger.info(
        "%s: %s rows in %s files, %s, %.1f s",
        *(prefix, f"{landed.rows:,}", landed.files, "changed" if changed else "unchanged", landed.seconds),
    )
    return landed


def _stage(desk: Desk, folder: str, local: Path, manifest: Manifest, base: Manifest | None) -> None:
    """Put the new parts and the manifest on the draft, and take off what they replace."""
    held = {part.name for part in base.parts} if base else set()
    names = {part.name for part in manifest.parts}
    (local / MANIFEST).write_text(manifest.to_json())
    upload(desk.lake, desk.draft, {name: local / name for name in [*sorted(names - held), MANIFEST]}, folder)
    remove(desk.lake, desk.draft, [f"{folder}/{name}" for name in sorted(held - names)])


def _kept(table: Table, base: Manifest | None) -> dict[str, Part]:
    """Parts of the last snapshot by the file they came from, as far as the declaration is still the same."""
    if base is None or base.contract != table.contract_hash:
        return {}
    return {part.origin: part for part in base.parts}
