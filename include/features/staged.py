"""The staged tables of a source, from its change logs in the lake to a draft of it."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from include.features.errors import StagingError
from include.features.spark_jobs.build import RESERVED, buckets_of, history_of, write_tables
from include.features.spark_jobs.change_facts import facts_of
from include.features.spark_jobs.events import Reader, schema_of, types_of
from include.features.spark_jobs.progress import FILE, Mode, Plan, Progress, plan
from include.features.spark_jobs.session import spark_session
from include.features.staged_log import StagedLog
from include.lake import Lake, remove, upload
from include.lake.objects import list_objects
from include.settings import Settings
from include.spec.refs import CommitRef, DraftRef, Staged
from include.spec.source import Source, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BUCKETS = 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StagedTable:
    """What a run did to a table's current state and history.

    Args:
        tables: Lake paths of the two.
        mode: What was built on.
        files: Files of the change log that were not held before.
        buckets: Which buckets of keys were written.
        changed: Whether anything differs from what main held.
    """

    tables: tuple[str, str]
    mode: Mode
    files: int
    buckets: tuple[int, ...]
    changed: bool


def stage_source(
    lake: Lake,
    settings: Settings,
    draft: DraftRef,
    source: Source,
    session: "Callable[[], SparkSession] | None" = None,
) -> Staged:
    """Bring current state and history of all captured tables of a source to what their change logs say.

    The logs are read at the commit that the draft was opened at. Only buckets of keys that new changes touch
    are read and written; where nothing is new, nothing is, and Spark is not started.

    Args:
        lake: Where.
        settings: Scratch folder, and Spark's master and memory.
        draft: What `open_draft` returned, with nothing of these tables staged.
        source: Declares a capture.
        session: Gives a Spark that the caller ends; else one is started, and ended.

    Raises:
        StagingError: A log cannot be what it says; nothing of its table is on the draft.
        LakeError: The lake could not be asked.
    """
    started = time.monotonic()
    names = source.capture.tables if source.capture else ()
    done = []
    with ExitStack() as held:
        # Java takes seconds to start: only where there is something to do, and once.
        given = session or cache(lambda: held.enter_context(spark_session(settings, partitions=BUCKETS)))
        for name in names:
            staged = stage_table(lake, settings, draft, source, source.table(name), given)
            if staged is not None:
                done.append(staged)
    data = CommitRef(draft.repository, draft.base)
    tables = tuple(path for one in done for path in one.tables)
    changed = any(one.changed for one in done)
    return Staged(source.name, data, tables, time.monotonic() - started, changed)


def stage_table(
    lake: Lake,
    settings: Settings,
    draft: DraftRef,
    source: Source,
    table: Table,
    session: "Callable[[], SparkSession]",
    *,
    buckets: int = BUCKETS,
    anew: bool = False,
) -> StagedTable | None:
    """Bring current state and history of one table to what its change log says; None where it has no log.

    Args:
        lake: As for `stage_source`.
        settings: As for `stage_source`.
        draft: As for `stage_source`.
        source: As for `stage_source`.
        table: Of the source.
        session: Starts Spark where it is needed.
        buckets: Parts that keys are hashed into; another number than before builds all anew.
        anew: Build all from the whole log, whatever is there.
    """
    started = time.monotonic()
    at = CommitRef(draft.repository, draft.base)
    with ExitStack() as held, TemporaryDirectory(dir=_scratch(settings), prefix="staged-") as scratch:
        log = StagedLog(lake, at, source.name, table.name, held)
        before = None if anew else log.progress()
        files = log.files(before)
        if not files:
            return None if before is None else _emptied(log, draft, before, Path(scratch))
        work = plan(before, files, table.key, buckets)
        _check(work, source, table)
        changed, touched = False, frozenset[int]()
        if work.mode != "nothing":
            made, touched = _build(log, work, session(), Path(scratch))
            changed = _stage(log, draft, work.progress, touched, made, Path(scratch))
    seconds = time.monotonic() - started
    logger.info("%s: %s, %s buckets, %.1f s", log.current, work.mode, len(touched), seconds)
    paths = (log.current, log.history)
    return StagedTable(paths, work.mode, len(work.new), tuple(sorted(touched)), changed)


def _check(work: Plan, source: Source, table: Table) -> None:
    taken = sorted(set(RESERVED) & set(work.layout.columns))
    if taken:
        raise StagingError(
            f"Table {source.name}.{table.name} has the column {', '.join(taken)}, as the staged tables do.",
            remedy="Leave the column out of the publication, or capture a view under another name.",
            table=table.name,
        )
    absent = [name for name in table.key if name not in work.layout.current]
    if absent:
        raise StagingError(
            f"Table {source.name}.{table.name} has no key column {', '.join(absent)} any more.",
            remedy=f"Correct `key` in its declaration; its columns are {', '.join(work.layout.current)}.",
            table=table.name,
        )


Made = tuple[dict[int, Path], dict[int, Path]]


def _build(log: StagedLog, work: Plan, spark: "SparkSession", scratch: Path) -> tuple[Made, frozenset[int]]:
    """Files of history and current state of the buckets that are to be written, and which those are."""
    whole = work.mode != "forward"
    needed = work.progress.files if whole else work.new
    log.fetch([file.name for file in needed], whole=whole)
    reader = _reader(log, work, spark)
    files = log.paths(work.by_period(needed))
    facts = facts_of(files, work.progress.key, work.made_anew if whole else ())
    changes = reader.changes(files)
    buckets = frozenset(range(reader.buckets))
    if work.mode == "forward" and not facts.truncated:
        buckets = buckets_of(reader, changes)
    elif work.mode == "late":
        late = log.paths(work.by_period(work.new))
        if not facts_of(late, work.progress.key).truncated:
            buckets = buckets_of(reader, reader.changes(late))
    before = None if whole else _history(log, spark, buckets)
    history = history_of(reader, changes, facts, buckets, before)
    return write_tables(reader, history, buckets, scratch), buckets


def _reader(log: StagedLog, work: Plan, spark: "SparkSession") -> Reader:
    if work.mode == "forward":
        # The history is there with that very layout.
        schema = schema_of(log.object(f"{log.history}/{_bucket_file(0)}"))
        types: dict[str, Any] = {name: schema[name].dataType for name in work.layout.columns}
    else:
        firsts = [(period, paths[0]) for period, paths in log.paths(work.by_period(work.progress.files))]
        types = types_of(work.layout, firsts)
    return Reader(spark, work.layout, work.progress.key, work.progress.buckets, types)


def _emptied(log: StagedLog, draft: DraftRef, before: Progress, scratch: Path) -> StagedTable:
    """The tables without rows: a capture that began anew found none, and its log has no file."""
    import pyarrow.parquet as pq

    tables = (log.current, log.history)
    if not before.files:
        return StagedTable(tables, "nothing", 0, (), False)
    progress = Progress((), before.key, before.buckets, "")
    made: Made = ({}, {})
    for prefix, files in zip((log.history, log.current), made, strict=True):
        files[0] = scratch / f"{prefix.rpartition('/')[2]}.parquet"
        schema = pq.read_schema(log.object(f"{prefix}/{_bucket_file(0)}"))
        pq.write_table(schema.empty_table(), files[0])
    buckets = frozenset(range(before.buckets))
    changed = _stage(log, draft, progress, buckets, made, scratch)
    return StagedTable(tables, "all", 0, tuple(sorted(buckets)), changed)


def _history(log: StagedLog, spark: "SparkSession", buckets: frozenset[int]) -> Any:
    there = {stat.path for stat in list_objects(log.lake, log.at, log.history)}
    wanted = {f"{log.history}/{_bucket_file(number)}" for number in buckets | {0}}
    read = [str(path) for path in log.objects(sorted(wanted & there))]
    return spark.read.schema(schema_of(read[0])).parquet(*read)


def _stage(
    log: StagedLog, draft: DraftRef, progress: Progress, buckets: frozenset[int], made: Made, scratch: Path
) -> bool:
    """Put the files of these buckets on the draft, and take off those that are no more."""
    document = scratch / FILE
    document.write_text(progress.document())
    changed = False
    for prefix, files in ((log.history, made[0]), (log.current, made[1])):
        named = {_bucket_file(number): path for number, path in sorted(files.items())}
        if prefix == log.history:
            named[FILE] = document
        held = {stat.path for stat in list_objects(log.lake, log.at, prefix)}
        wanted = {f"{prefix}/{name}" for name in named}
        kept = {f"{prefix}/{_bucket_file(n)}" for n in range(progress.buckets) if n not in buckets}
        gone = sorted(path for path in held - wanted - kept if path.endswith(".parquet"))
        sent = upload(log.lake, draft, named, prefix)
        remove(log.lake, draft, gone)
        changed = changed or bool(sent.sent_bytes or gone)
    return changed


def _bucket_file(number: int) -> str:
    return f"bucket-{number:05d}.parquet"


def _scratch(settings: Settings) -> Path:
    scratch = settings.home / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch
