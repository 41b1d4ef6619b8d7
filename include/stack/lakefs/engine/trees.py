"""Trees: reading them, and building new ones from edits at the cost of the ranges touched."""

import bisect
from collections.abc import Callable, Iterable, Iterator

from include.stack.lakefs.engine import ranges
from include.stack.lakefs.engine.cache import Cache
from include.stack.lakefs.engine.ranges import Columns, Edit, Line, Metarange, Range, Row
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.model import NotFound

EMPTY = ""
_FLUSH_BYTES = 8 * 2**20
_BATCH = 4096

Flush = Callable[[dict[bytes, bytes]], None]


class Chunks:
    """Loads and stores chunks, and remembers the decoded ones.

    Args:
        capacity_bytes: Memory for decoded chunks, counted as their uncompressed length.
    """

    def __init__(self, capacity_bytes: int = 256 * 2**20) -> None:
        self._ranges: Cache[Range] = Cache(capacity_bytes * 3 // 4)
        self._metaranges: Cache[Metarange] = Cache(capacity_bytes // 4)

    def load_range(self, tx: Transaction, repository: int, chunk_id: bytes) -> Range:
        """Return a range of the repository."""
        held = self._ranges.get(chunk_id)
        if held is None:
            body = _load(tx, repository, chunk_id)
            held = ranges.range_decoder.decode(body)
            self._ranges.put(chunk_id, held, len(body))
        return held

    def load_metarange(self, tx: Transaction, repository: int, metarange_id: str) -> Metarange:
        """Return a metarange of the repository.

        Raises:
            NotFound: There is none of that id.
        """
        if metarange_id == EMPTY:
            return Metarange()
        held = self._metaranges.get((repository, metarange_id))
        if held is None:
            body = _load(tx, repository, bytes.fromhex(metarange_id))
            held = ranges.metarange_decoder.decode(body)
            self._metaranges.put((repository, metarange_id), held, len(body))
        return held

    @staticmethod
    def save(tx: Transaction, repository: int, chunks: Iterable[tuple[bytes, bytes]]) -> None:
        """Store packed chunks; those that are there already are passed over."""
        tx.executemany(
            "INSERT OR IGNORE INTO chunks VALUES (?, ?, ?)",
            ((repository, chunk_id, packed) for chunk_id, packed in chunks),
        )


def _load(tx: Transaction, repository: int, chunk_id: bytes) -> bytes:
    row = tx.execute(
        "SELECT body FROM chunks WHERE repository = ? AND id = ?", (repository, chunk_id)
    ).fetchone()
    if row is None:
        raise NotFound("metarange not found", id=chunk_id.hex())
    return ranges.unpack(row[0])


class Tree:
    """A tree as seen through one transaction.

    Args:
        chunks: Where to load from.
        tx: The transaction; the tree is of no use after it.
        repository: Number of the repository.
        metarange_id: Id of the tree, "" for the empty one.
    """

    def __init__(self, chunks: Chunks, tx: Transaction, repository: int, metarange_id: str) -> None:
        self._chunks, self._tx, self._repository = chunks, tx, repository
        self.id = metarange_id
        self.metarange = chunks.load_metarange(tx, repository, metarange_id)

    def load(self, line: Line) -> Range:
        """Return the range that a line of the metarange tells of."""
        return self._chunks.load_range(self._tx, self._repository, line.id)

    def get(self, path: str) -> Row | None:
        """Return the entry at a path."""
        at = bisect.bisect_left(self.metarange.lasts, path)
        if at == len(self.metarange.lines) or path < self.metarange.lines[at].first:
            return None
        return self.load(self.metarange.lines[at]).find(path)

    def scan(self, start: str = "") -> Iterator[Row]:
        """Yield the entries from a path on, in order."""
        first = bisect.bisect_left(self.metarange.lasts, start)
        for line in self.metarange.lines[first:]:
            held = self.load(line)
            yield from held.rows(held.index(start) if line.first < start else 0)


class Builder:
    """Writes a new tree from whole ranges and entries, all in order of path.

    Args:
        flush: Stores chunks early, so that a large tree is not held in memory; None keeps all.
    """

    def __init__(self, flush: Flush | None = None) -> None:
        self.chunks: dict[bytes, bytes] = {}
        self._flush = flush
        self._held_bytes = 0
        self._lines: list[Line] = []
        self._pending = Columns()

    @property
    def at_cut(self) -> bool:
        """Whether all entries so far lie in finished ranges, so that a whole range may follow."""
        return not self._pending.paths

    def add_range(self, line: Line) -> None:
        """Take over a range as it is; only at a cut, and only one that ends at a cut or the tree."""
        self._lines.append(line)

    def add(self, entries: Range | Columns) -> None:
        """Append entries, cutting ranges where they end."""
        pending, scanned = self._pending, len(self._pending.paths)
        pending.extend(entries)
        taken = 0
        for end in list(ranges.cuts(pending.paths, scanned)):
            self._finish_range(pending.take(end - taken))
            taken = end

    def finish(self) -> str:
        """Return the id of the tree; all its chunks are in `chunks` or flushed."""
        if not self.at_cut:
            self._finish_range(self._pending.take(len(self._pending.paths)))
        if not self._lines:
            return EMPTY
        return self._put(ranges.encoder.encode(Metarange(self._lines))).hex()

    def _finish_range(self, entries: Range) -> None:
        body = ranges.encoder.encode(entries)
        line = Line(self._put(body), entries.paths[0], entries.paths[-1], len(entries.paths), len(body))
        self._lines.append(line)

    def _put(self, body: bytes) -> bytes:
        chunk_id = ranges.chunk_id(body)
        packed = ranges.pack(body)
        self.chunks[chunk_id] = packed
        self._held_bytes += len(packed)
        if self._flush is not None and self._held_bytes > _FLUSH_BYTES:
            self._flush(self.chunks)
            self.chunks, self._held_bytes = {}, 0
        return chunk_id


def apply_edits(tree: Tree, edits: Iterable[Edit], builder: Builder) -> tuple[str, int]:
    """Build the tree with the edits applied; ranges that no edit changes are taken over by id.

    An edit that puts the identity already there, or deletes what is not there, changes nothing: the
    entry stays with its old address.

    Args:
        tree: The tree before.
        edits: In order of path, each path once.
        builder: A fresh one.

    Returns:
        The id of the new tree and the number of paths that changed.
    """
    waiting = _Lookahead(edits)
    changed = 0
    for left, line in zip(range(len(tree.metarange.lines) - 1, -1, -1), tree.metarange.lines, strict=True):
        batch = waiting.take_until(line.last)
        # The last range ends where the tree does, not at a cut: what comes after may belong to it.
        keepable = builder.at_cut and (left > 0 or not waiting.has_more)
        if keepable and not batch:
            builder.add_range(line)
            continue
        held = tree.load(line)
        merged, count = _merge_edits(held, batch)
        changed += count
        if keepable and not count:
            builder.add_range(line)
        else:
            builder.add(merged)
    while batch := waiting.take(_BATCH):
        rows = [row for _, row in batch if row is not None]
        changed += len(rows)
        builder.add(_columns(rows))
    return (builder.finish() if changed else tree.id), changed


def _merge_edits(held: Range, edits: list[Edit]) -> tuple[Columns, int]:
    """Return a range with edits applied, and how many paths changed."""
    merged = Columns()
    position = changed = 0
    for path, row in edits:
        at = held.index(path, position)
        found = at < len(held.paths) and held.paths[at] == path
        if (row.identity if row else None) == (held.identity(at) if found else None):
            continue
        merged.extend(held.part(position, at))
        if row is not None:
            merged.append(row)
        position = at + found
        changed += 1
    merged.extend(held.part(position, len(held.paths)))
    return merged, changed


def _columns(rows: Iterable[Row]) -> Columns:
    columns = Columns()
    for row in rows:
        columns.append(row)
    return columns


class _Lookahead:
    """Hands out edits up to a path."""

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._edits = iter(edits)
        self._next = next(self._edits, None)

    @property
    def has_more(self) -> bool:
        return self._next is not None

    def take_until(self, last: str) -> list[Edit]:
        taken: list[Edit] = []
        while self._next is not None and self._next[0] <= last:
            taken.append(self._next)
            self._next = next(self._edits, None)
        return taken

    def take(self, amount: int) -> list[Edit]:
        taken: list[Edit] = []
        while self._next is not None and len(taken) < amount:
            taken.append(self._next)
            self._next = next(self._edits, None)
        return taken
