"""Held changes back into the change log, each where its position says, as if it had never been held.

The files of the windows that they came from are written once more, with them in their places: the log stays
in the order of its names. Staged tables see that files of the log are others, and are built from all of it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.ingestion.batch import Desk
from include.ingestion.change_log import ChangeLog, by_span, held_folder, raw_folder, shape_in, span_name
from include.ingestion.change_rules import BESIDE, broken_by
from include.ingestion.owed_values import FILE as OWED
from include.ingestion.owed_values import Owed
from include.ingestion.pgoutput import ChangeBatch, TableShape
from include.ingestion.pgoutput.changes import OPERATIONS, operations
from include.ingestion.release import Choice, ReleaseError
from include.ingestion.row_text import row_text
from include.lake import Lake, checkout, remove, upload
from include.lake.objects import list_objects, read_bytes
from include.spec.logged import Logged
from include.spec.refs import CommitRef
from include.spec.source import Source, Table

Place = tuple[int, int]


def changes_held(lake: Lake, at: CommitRef, source: Source, table: Table) -> list[dict[str, Any]]:
    """What is held of a table's changes at a commit, in the order of the log, as people read it."""
    with _Held.opened(lake, at, source, table) as held:
        return [_told(change) for change in held.changes()]


def release_changes(desk: Desk, table: Table, choice: Choice) -> Logged:
    """Publish chosen changes as they are.

    Args:
        desk: Where; a fresh draft.
        table: The declaration.
        choice: Which of them, and on whose word.

    Raises:
        ReleaseError: None is chosen, or one needs another that is not.
    """
    with _Held.opened(desk.lake, _base(desk), desk.source, table) as held:
        there = {change["id"]: change for change in held.changes()}
        chosen = {name for name, change in there.items() if choice.holds(change)}
        unknown = sorted(set(choice.ids) - chosen)
        if unknown or not chosen:
            raise ReleaseError(
                f"No change of {table.name} is held{f' as {unknown[0]}' if unknown else ' that does'}.",
                remedy=f"`headrace quarantine show {desk.source.name} {table.name}` lists what is held.",
                table=table.name,
            )
        needed = sorted({one for name in chosen for one in there[name]["needs"]} & set(there) - chosen)
        if needed:
            raise ReleaseError(
                f"{len(chosen)} changes of {table.name} leave out values that only others tell, which stay "
                f"held: {', '.join(needed[:5])}.",
                remedy="Release these, too: " + " ".join(f"--row {one}" for one in needed[:5]),
                table=table.name,
            )
        return held.bring_back(desk, chosen)


def replay_changes(desk: Desk, table: Table) -> Logged:
    """Judge what is held by the rules as they are declared now, and publish what keeps them."""
    with _Held.opened(desk.lake, _base(desk), desk.source, table) as held:
        needs = {change["id"]: set(change["needs"]) for change in held.changes()}
        free = held.conforming()
        while stuck := {name for name in free if needs[name] & needs.keys() - free}:
            free -= stuck
        return held.bring_back(desk, free)


def _base(desk: Desk) -> CommitRef:
    return CommitRef(desk.draft.repository, desk.draft.base)


def _told(change: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in change["row"].items() if name not in change["unchanged"]}
    special = {path.partition(".")[2]: text for path, text in change["special"] if path.startswith("row.")}
    return {
        **{name: change[name] for name in ("id", "rule", "reason", "origin", "sequence", "transaction_id")},
        "operation": change["operation"],
        "needs": change["needs"],
        "row": row_text(row | special),
    }


@dataclass
class _Held:
    """The held changes of one table, as files here.

    Args:
        folders: In the lake, of what is held and of the change log.
        files: By name.
        owed: Values that only these changes tell.
    """

    lake: Lake
    at: CommitRef
    table: Table
    folders: tuple[str, str]
    stack: ExitStack = field(default_factory=ExitStack)
    files: dict[str, Path] = field(default_factory=dict)
    owed: Owed = field(default_factory=Owed)

    @classmethod
    def opened(cls, lake: Lake, at: CommitRef, source: Source, table: Table) -> "_Held":
        """What is held at a commit; nothing is legitimate."""
        held = held_folder(source.name, table.name)
        return cls(lake, at, table, (held, raw_folder(source.name, table.name)))

    def __enter__(self) -> "_Held":
        folder = self.folders[0]
        paths = [stat.path for stat in list_objects(self.lake, self.at, folder)]
        self.files = self._local([path for path in paths if path.endswith(".parquet")])
        if f"{folder}/{OWED}" in paths:
            path = f"{folder}/{OWED}"
            self.owed = Owed.of(read_bytes(self.lake, self.at, path), path)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _local(self, paths: Sequence[str]) -> dict[str, Path]:
        checkouts = ((path, self.stack.enter_context(checkout(self.lake, self.at, path))) for path in paths)
        return {path.rpartition("/")[2]: files.path(path) for path, files in checkouts}

    def changes(self) -> Iterator[dict[str, Any]]:
        """All of them."""
        for _, path in sorted(self.files.items()):
            yield from pq.read_table(path).to_pylist()

    def conforming(self) -> set[str]:
        """Ids of those that keep the rules as they are declared now, whatever they wait for."""
        free: set[str] = set()
        for path in self.files.values():
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches():
                    masks = broken_by(self.table, batch)
                    wrong = np.zeros(batch.num_rows, bool)
                    for mask, _ in masks.values():
                        wrong |= np.asarray(mask)
                    free |= set(batch.column("id").filter(pa.array(~wrong)).to_pylist())
        return free

    def bring_back(self, desk: Desk, chosen: Set[str]) -> Logged:
        """Write chosen changes to the change log, and take them out of what is held."""
        count = 0
        scratch = desk.settings.home / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=scratch, prefix=f"{self.table.name}-released-") as local:
            names = {path: name for name, path in self.files.items()}
            for number, (span, paths) in enumerate(by_span(self.files).items()):
                back: list[ChangeBatch] = []
                for path in paths:
                    taken = self._take_out(desk, names[path], path, chosen, Path(local))
                    back += [taken] if taken.data.num_rows else []
                if back:
                    count += sum(one.data.num_rows for one in back)
                    folder = Path(local) / str(number)
                    folder.mkdir()
                    self._weave(desk, span, back, folder)
            self._settle_owed(desk, chosen, Path(local))
        return Logged(self.folders[1], 0, count, -count)

    def _take_out(self, desk: Desk, name: str, path: Path, chosen: Set[str], local: Path) -> ChangeBatch:
        """The chosen changes of one file, of which the others are left."""
        held = pq.read_table(path)
        mine = pc.is_in(held.column("id"), value_set=pa.array(sorted(chosen), pa.string()))
        taken, left = held.filter(mine), held.filter(pc.invert(mine))
        if taken.num_rows and left.num_rows:
            pq.write_table(left, local / name, compression="zstd")
            upload(desk.lake, desk.draft, {name: local / name}, self.folders[0])
        elif taken.num_rows:
            remove(desk.lake, desk.draft, [f"{self.folders[0]}/{name}"])
        data = taken.drop_columns([field.name for field in BESIDE]).combine_chunks()
        batches = [alike(batch) for batch in data.to_batches()]
        empty = pa.RecordBatch.from_pylist([], schema=data.schema)
        return ChangeBatch(shape_in(held.schema), batches[0] if batches else empty)

    def _weave(self, desk: Desk, span: tuple[int, int], back: Sequence[ChangeBatch], folder: Path) -> None:
        """Write the files of one span of the log once more, with changes in their places."""
        raw = self.folders[1]
        stats = [stat.path for stat in list_objects(self.lake, self.at, raw)]
        there = [path for path in stats if path.startswith(f"{raw}/{span_name(*span)}-")]
        log, behind = ChangeLog(folder), {}
        if back[0].data.column("operation")[0].as_py() == "read":
            # The rows that a log begins with have no order among them, and may be many.
            behind[raw] = len(there)
            for batch in back:
                log.append(raw, batch)
        else:
            files = self._local(there)
            for batch in woven((files[name] for name in sorted(files)), back):
                log.append(raw, batch)
        log.stage(desk.lake, desk.draft, *span, behind)
        if not behind:
            # Fewer files may hold the same: those that came out of quarantine by themselves were small.
            remove(desk.lake, desk.draft, there[log.files(raw) :])

    def _settle_owed(self, desk: Desk, chosen: Set[str], local: Path) -> None:
        left, folder = self.owed.without(chosen), self.folders[0]
        if left.keys == self.owed.keys:
            return
        if left.keys:
            (local / OWED).write_text(left.document())
            upload(desk.lake, desk.draft, {OWED: local / OWED}, folder)
        else:
            remove(desk.lake, desk.draft, [f"{folder}/{OWED}"])


def woven(files: Iterable[Path], back: Sequence[ChangeBatch]) -> Iterator[ChangeBatch]:
    """The changes of some files of a log, in their order, with others in their places.

    Where a change of the log has the place of one of them, it was its stand-in, and is left out.

    Args:
        files: In order.
        back: The others, in the order of the log, each batch of one shape.
    """
    waiting = [
        (place, batch.shape, batch.data.slice(index, 1))
        for batch in back
        for index, place in enumerate(_places(batch.data))
    ]
    waiting.sort(key=lambda one: one[0])
    for path in files:
        with pq.ParquetFile(path) as file:
            shape = shape_in(file.schema_arrow)
            for batch in file.iter_batches():
                places = _places(batch)
                end = next((n for n, one in enumerate(waiting) if one[0] > places[-1]), len(waiting))
                yield from _between(shape, alike(batch), places, waiting[:end])
                waiting = waiting[end:]
    yield from _joined([(shape, data) for _, shape, data in waiting])


def _between(
    shape: TableShape,
    batch: pa.RecordBatch,
    places: Sequence[Place],
    others: Sequence[tuple[Place, TableShape, pa.RecordBatch]],
) -> Iterator[ChangeBatch]:
    if not others:
        yield ChangeBatch(shape, batch)
        return
    pieces, done = [], 0
    for place, own, data in others:
        at = bisect_left(places, place)
        pieces += [(shape, batch.slice(done, at - done)), (own, data)]
        done = at + (at < len(places) and places[at] == place)
    yield from _joined([*pieces, (shape, batch.slice(done))])


def _joined(pieces: Sequence[tuple[TableShape, pa.RecordBatch]]) -> Iterator[ChangeBatch]:
    """Pieces of a log with those of one shape together."""
    run: list[pa.RecordBatch] = []
    of: TableShape | None = None
    for shape, data in pieces:
        if not data.num_rows:
            continue
        if of is not None and not of.same_as(shape):
            yield from _one(of, run)
            run = []
        of = shape
        run.append(data)
    if of is not None:
        yield from _one(of, run)


def _one(shape: TableShape, run: Sequence[pa.RecordBatch]) -> Iterator[ChangeBatch]:
    schema = run[0].schema
    whole = pa.Table.from_batches([pa.RecordBatch.from_arrays(part.columns, schema=schema) for part in run])
    for batch in whole.combine_chunks().to_batches():
        yield ChangeBatch(shape, batch)


def _places(data: pa.RecordBatch) -> list[Place]:
    return list(zip(data.column("commit_lsn").to_pylist(), data.column("sequence").to_pylist(), strict=True))


def alike(data: pa.RecordBatch) -> pa.RecordBatch:
    """Changes whose operations are told as a decoder tells them, whatever file they were read from."""
    names = data.column("operation").cast(pa.string())
    codes = pc.index_in(names, value_set=pa.array(OPERATIONS)).cast(pa.int8())
    place = data.schema.get_field_index("operation")
    columns = [*data.columns[:place], operations(codes.to_numpy()), *data.columns[place + 1 :]]
    return pa.RecordBatch.from_arrays(columns, schema=data.schema)
