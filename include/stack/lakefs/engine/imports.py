"""Import: a tree built in bulk from entries that lie in the blockstore already."""

import contextlib
import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence

from include.stack.lakefs.engine import names
from include.stack.lakefs.engine.commits import Check
from include.stack.lakefs.engine.graph import new_commit
from include.stack.lakefs.engine.merges import STRATEGY_KEY, Merges
from include.stack.lakefs.engine.ranges import Edit, Row, row_of
from include.stack.lakefs.engine.repositories import put_metadata
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.engine.trees import EMPTY, Builder, Tree, apply_edits
from include.stack.lakefs.model import Commit, Entry, MergeStrategy

LAST_IMPORT_KEY = ".lakefs.last.import.timestamp"


class Imports(Merges):
    """Part of the engine: many entries at once."""

    def import_entries(
        self,
        repository: str,
        branch: str,
        entries: Iterable[Entry],
        prefixes: Sequence[str],
        committer: str,
        message: str = "",
        metadata: Mapping[str, str] | None = None,
        *,
        force: bool = False,
        check: Check | None = None,
    ) -> Commit:
        """Replace everything under the prefixes with the entries, in one commit.

        Args:
            repository: Repository id.
            branch: Branch name.
            entries: In any order; the last of equal paths counts. Streamed.
            prefixes: What is replaced: destinations of the import; an object's own path counts as one.
            committer: Name of the user.
            message: Default: `Import objects`.
            metadata: The user's key-value pairs.
            force: Write to a read-only repository.
            check: Runs between prepare and apply.

        Raises:
            DirtyBranch, NotFound, TooManyTries: As for merge. Like lakeFS it asks no branch protection,
                and commits even where nothing changed.
        """
        kept = {**(metadata or {}), STRATEGY_KEY: str(MergeStrategy.SOURCE_WINS)}
        with _sorted(entries) as source:

            def build(tx: Transaction, number: int, head: Commit, builder: Builder) -> Commit:
                tree = self._tree(tx, number, head.meta_range_id)
                edits = _replacing(tree, prefixes, source.scan())
                tree_id, _ = apply_edits(tree, edits, builder)
                text = message or "Import objects"
                return new_commit((head,), tree_id, committer=committer, message=text, metadata=kept)

            commit = self._commit_onto(repository, branch, build, force=force, check=check)
        imported_at = {LAST_IMPORT_KEY: str(commit.creation_date)}
        self._write(repository, lambda tx, row: put_metadata(tx, row.number, imported_at))
        return commit

    def write_metarange(self, repository: str, entries: Iterable[Entry]) -> str:
        """Store a tree of the entries and return its id, for `commit(source_metarange=...)`."""
        with _sorted(entries) as source, self._reading(repository) as (tx, row):
            builder = self._builder(row.number)
            tree_id, _ = apply_edits(self._tree(tx, row.number, EMPTY), source.scan(), builder)
        self._write(repository, lambda tx, row: self._chunks.save(tx, row.number, builder.chunks.items()))
        return tree_id


class _Sorted:
    """Entries put in order of path on disk, since they come in any order and may not fit in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def scan(self) -> Iterator[Edit]:
        """Yield them in order of path."""
        rows = self._connection.execute("SELECT path, identity, record FROM entries ORDER BY path")
        for path, identity, record in rows:
            yield path, Row(path, identity, record)


@contextlib.contextmanager
def _sorted(entries: Iterable[Entry]) -> Iterator[_Sorted]:
    with contextlib.closing(sqlite3.connect("", isolation_level=None)) as connection:  # "": a private file
        connection.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-131072;"
        )
        connection.execute(
            "CREATE TABLE entries (path TEXT PRIMARY KEY, identity BLOB, record BLOB) WITHOUT ROWID"
        )
        connection.execute("BEGIN")
        connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", _checked(entries))
        connection.execute("COMMIT")
        yield _Sorted(connection)


def _checked(entries: Iterable[Entry]) -> Iterator[tuple[str, bytes, bytes]]:
    for entry in entries:
        names.check_path(entry.path)
        row = row_of(entry)
        yield row.path, row.identity, row.record


def _replacing(tree: Tree, prefixes: Sequence[str], source: Iterator[Edit]) -> Iterator[Edit]:
    """Yield the edits that remove what the tree has under the prefixes and put the source there."""
    previous = None
    for edit in heapq.merge(source, _removals(tree, prefixes), key=lambda edit: edit[0]):
        if edit[0] != previous:  # of two, the source's comes first
            previous = edit[0]
            yield edit


def _removals(tree: Tree, prefixes: Sequence[str]) -> Iterator[Edit]:
    """Yield the removal of every path under one of the prefixes, once, in order."""
    previous = None
    for prefix in sorted(set(prefixes)):
        if previous is not None and prefix.startswith(previous):
            continue
        previous = prefix
        for row in tree.scan(prefix):
            if not row.path.startswith(prefix):
                break
            yield row.path, None
