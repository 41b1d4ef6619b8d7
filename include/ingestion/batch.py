"""Batch ingestion: whole tables, as they are now, onto a draft of the lake.

Landing is repeatable. A table whose content did not change is not written, whatever was read; a file that
did not change is not even read. So a run over an unchanged source leaves the draft equal to main.
"""

import itertools
import logging
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from include.ingestion import contracts
from include.ingestion.connectors import postgres
from include.ingestion.connectors.files import File, FileStore
from include.ingestion.snapshot import FOLDER, MANIFEST, Manifest, Part, write_parts
from include.lake import Lake, discard, upload, write_watermark
from include.lake.objects import read_bytes, stat_or_none
from include.lake.remove import remove
from include.settings import Settings
from include.spec.reads import DatabaseTable, Files
from include.spec.refs import CommitRef, DraftRef, Landed, Landing, Position
from include.spec.source import Source, Table

# Tables, and files of one table, that are read at once: one computes while the other waits.
WORKERS = 2

logger = logging.getLogger(__name__)

Write = Callable[[Path, Manifest | None], Manifest]


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


def land(desk: Desk, origin: str) -> Landing:
    """Land all tables that are read together: one database at one instant, or one folder of files.

    Holds a few batches in memory, whatever the size of a table.

    Args:
        desk: Where.
        origin: One of `source.origins`.

    Raises:
        ContractError: What arrived is not what is declared; the draft must not be published.
        DatabaseError: The database could not be read.
    """
    started = time.monotonic()
    tables = desk.source.tables_of(origin)
    assert tables, f"{desk.source.name} has no origin {origin}"
    reads = [table.read for table in tables]
    if isinstance(reads[0], DatabaseTable):
        landed = _land_database(desk, origin, reads[0].dsn, tables)
    else:
        landed = tuple(_land_files(desk, table) for table in tables)
    return Landing(desk.source.name, origin, landed, time.monotonic() - started, peak_memory_bytes())


def record_positions(lake: Lake, draft: DraftRef, landings: Sequence[Landing]) -> None:
    """Write the watermark of what was landed; nothing where nothing changed, so that main stays as it is."""
    landed = [table for landing in landings for table in landing.tables]
    if any(table.changed for table in landed):
        write_watermark(lake, draft, landings[0].source, [table.position for table in landed])


def peak_memory_bytes() -> int:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _land_database(desk: Desk, origin: str, dsn: str, tables: Sequence[Table]) -> tuple[Landed, ...]:
    address = getattr(desk.settings, dsn).get_secret_value()
    with postgres.snapshot(address, origin) as instant, ThreadPoolExecutor(WORKERS) as workers:

        def read(table: Table) -> Landed:
            def write(folder: Path, _base: Manifest | None) -> Manifest:
                parts = write_parts(
                    contracts.arrow_schema(table), instant.read(table), folder, _names(desk.draft)
                )
                return Manifest(table.contract_hash, parts)

            return _land_table(desk, table, write, lambda manifest: ("snapshot", manifest.digest))

        return tuple(workers.map(read, tables))


def _land_files(desk: Desk, table: Table) -> Landed:
    assert isinstance(table.read, Files)
    store = FileStore(desk.settings, table.read.bucket)
    files = store.matching(table.read)
    if not files and not table.may_be_empty:
        raise contracts.violated(
            store.shown(table.read), "matches no file", accepted="at least one file", table=table.name
        )

    def write(folder: Path, base: Manifest | None) -> Manifest:
        kept = _kept(table, base)
        names = _names(desk.draft)
        named = [(file, next(names)) for file in files]
        schema = contracts.arrow_schema(table)

        def read(item: tuple[File, str]) -> tuple[Part, ...]:
            file, name = item
            known = kept.get(file.path)
            if known is not None and known.version == file.version:
                return (known,)
            batches = store.read(table, file)
            # One part per file, however long: the next run keeps or replaces it with its file.
            parts = write_parts(schema, batches, folder, iter([name]), part_rows=_NEVER)
            return tuple(replace(part, origin=file.path, version=file.version) for part in parts)

        with ThreadPoolExecutor(WORKERS) as workers:
            read_parts = list(itertools.chain.from_iterable(workers.map(read, named)))
        # What the department cleans away later was delivered once: the lake keeps it.
        delivered = {file.path for file in files}
        gone = [part for part in kept.values() if part.origin not in delivered]
        return Manifest(
            table.contract_hash, tuple(sorted([*gone, *read_parts], key=lambda part: part.origin))
        )

    return _land_table(desk, table, write, lambda manifest: ("files", manifest.parts[-1].origin))


_NEVER = 2**63


def _land_table(
    desk: Desk, table: Table, write: Write, position: Callable[[Manifest], tuple[str, str]]
) -> Landed:
    started = time.monotonic()
    prefix = desk.source.prefix(table.name)
    folder = f"{prefix}/{FOLDER}"
    discard(desk.lake, desk.draft, folder)
    base = _manifest(desk.lake, CommitRef(desk.draft.repository, desk.draft.base), folder)
    scratch = desk.settings.home / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix=f"{table.name}-") as local:
        manifest = write(Path(local), base)
        contracts.check_rows(table, manifest.rows, prefix)
        changed = base is None or manifest.digest != base.digest
        if changed:
            _stage(desk, folder, Path(local), manifest, base)
    kind, value = position(manifest) if manifest.parts else ("snapshot", manifest.digest)
    landed = Landed(
        table=prefix,
        rows=manifest.rows,
        size_bytes=manifest.size_bytes,
        files=len(manifest.parts),
        changed=changed,
        seconds=time.monotonic() - started,
        position=Position(kind=kind, value=value, table=table.name),  # type: ignore[arg-type]
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


def _manifest(lake: Lake, at: CommitRef, folder: str) -> Manifest | None:
    path = f"{folder}/{MANIFEST}"
    if stat_or_none(lake, at, path) is None:
        return None
    return Manifest.from_json(read_bytes(lake, at, path).decode())


def _kept(table: Table, base: Manifest | None) -> dict[str, Part]:
    """Parts of the last snapshot by the file they came from, as far as the declaration is still the same."""
    if base is None or base.contract != table.contract_hash:
        return {}
    return {part.origin: part for part in base.parts}


def _names(draft: DraftRef) -> Iterator[str]:
    return (f"{draft.branch}-{number:05d}.parquet" for number in itertools.count())
