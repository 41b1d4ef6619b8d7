"""What all parts of the engine stand on: the open store, its trees and its commits."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from include.stack.lakefs.engine import records, staging
from include.stack.lakefs.engine.cache import Cache
from include.stack.lakefs.engine.differences import staged_differences
from include.stack.lakefs.engine.expressions import parse
from include.stack.lakefs.engine.graph import Find
from include.stack.lakefs.engine.paging import after_prefix
from include.stack.lakefs.engine.ranges import encoder
from include.stack.lakefs.engine.records import BranchRow, RepositoryRow
from include.stack.lakefs.engine.store import Store, Transaction
from include.stack.lakefs.engine.trees import Chunks, Tree
from include.stack.lakefs.model import Commit, InvalidRef, NotFound, Resolved

T = TypeVar("T")

_HEX = re.compile(r"[0-9a-fA-F]{1,64}")
_COMMIT = msgspec.msgpack.Decoder(Commit)
_COMMIT_CACHE_BYTES = 16 * 2**20


class Core:
    """An open store in a folder.

    Args:
        data_dir: Folder of the store, created if absent, with mode 0700.
        cache_bytes: Memory for decoded chunks of trees.
    """

    def __init__(self, data_dir: Path, *, cache_bytes: int = 256 * 2**20) -> None:
        self.data_dir = data_dir
        self._store = Store(data_dir / "metadata.db")
        self._chunks = Chunks(cache_bytes)
        self._commits: Cache[Commit] = Cache(_COMMIT_CACHE_BYTES)
        self._queues: dict[tuple[str, str], threading.Lock] = {}

    def close(self) -> None:
        """Close the store after the write under way; the engine is of no use afterwards."""
        self._store.close()

    @contextlib.contextmanager
    def _reading(self, repository: str) -> Iterator[tuple[Transaction, RepositoryRow]]:
        with self._store.snapshot() as tx:
            yield tx, records.find_repository(tx, repository)

    def _write(self, repository: str, work: Callable[[Transaction, RepositoryRow], T]) -> T:
        return self._store.write(lambda tx: work(tx, records.find_repository(tx, repository)))

    def _tree(self, tx: Transaction, number: int, metarange_id: str) -> Tree:
        return Tree(self._chunks, tx, number, metarange_id)

    def _tree_at(self, tx: Transaction, number: int, commit_id: str) -> Tree:
        return self._tree(tx, number, self._commit(tx, number, commit_id).meta_range_id)

    def _commit(self, tx: Transaction, number: int, commit_id: str) -> Commit:
        held = self._commits.get((number, commit_id))
        if held is None:
            row = tx.execute(
                "SELECT record FROM commits WHERE repository = ? AND id = ?", (number, commit_id)
            ).fetchone()
            if row is None:
                raise NotFound("commit not found", commit=commit_id)
            held = _COMMIT.decode(row[0])
            self._commits.put((number, commit_id), held, len(row[0]) + 500)
        return held

    def _finder(self, tx: Transaction, number: int) -> Find:
        return lambda commit_id: self._commit(tx, number, commit_id)

    @staticmethod
    def _put_commit(tx: Transaction, number: int, commit: Commit) -> bool:
        """Store a commit; returns False if there is one of that id already."""
        stored = tx.execute(
            "INSERT OR IGNORE INTO commits VALUES (?, ?, ?)", (number, commit.id, encoder.encode(commit))
        )
        return stored.rowcount > 0

    def _is_dirty(self, tx: Transaction, number: int, branch: BranchRow) -> bool:
        edits = staging.scan(tx, branch.tokens)
        return any(True for _ in staged_differences(self._tree_at(tx, number, branch.head), edits))

    def _resolve(self, tx: Transaction, number: int, expression: str) -> tuple[Resolved, BranchRow | None]:
        """Resolve a ref expression; the branch comes with it where reads see uncommitted changes."""
        base, modifiers = parse(expression)
        resolved, branch = self._resolve_base(tx, number, base)
        if any(sign in "@$" for sign, _ in modifiers):
            if branch is None or len(modifiers) > 1:
                raise InvalidRef("ref: invalid value: validation error", ref=expression)
            if expression.endswith("@"):
                return Resolved("branch", branch.head, branch.name), None
            return resolved, branch
        for sign, amount in modifiers:
            resolved = Resolved("commit", self._step(tx, number, resolved.commit_id, sign, amount))
        return resolved, branch if resolved.staged else None

    def _resolve_base(self, tx: Transaction, number: int, base: str) -> tuple[Resolved, BranchRow | None]:
        """Resolve a name: a whole commit id first, then a branch, a tag, the prefix of a commit id."""
        matching = self._commits_starting_with(tx, number, base)
        if base in matching:
            return Resolved("commit", base), None
        if (branch := records.find_branch(tx, number, base)) is not None:
            return Resolved("branch", branch.head, branch.name, staged=True), branch
        if (tagged := records.find_tag(tx, number, base)) is not None:
            return Resolved("tag", tagged), None
        if len(matching) == 1:
            return Resolved("commit", matching[0]), None
        raise NotFound("reference is ambiguous: not found" if matching else "reference not found", ref=base)

    @staticmethod
    def _commits_starting_with(tx: Transaction, number: int, prefix: str) -> list[str]:
        """Return up to two ids of commits that start with the prefix."""
        if not _HEX.fullmatch(prefix):
            return []
        rows = tx.execute(
            "SELECT id FROM commits WHERE repository = ? AND id >= ? AND id < ? LIMIT 2",
            (number, prefix, after_prefix(prefix)),
        )
        return [row[0] for row in rows]

    def _step(self, tx: Transaction, number: int, commit_id: str, sign: str, amount: int) -> str:
        """Follow `~amount` or `^amount` from a commit."""
        if sign == "^":
            parents = self._commit(tx, number, commit_id).parents
            if amount > len(parents):
                raise InvalidRef("ref: invalid value: validation error", commit=commit_id, parent=amount)
            return parents[amount - 1] if amount else commit_id
        for _ in range(amount):
            parents = self._commit(tx, number, commit_id).parents
            if not parents:
                raise NotFound("reference not found: it leaves the history", commit=commit_id)
            commit_id = parents[0]
        return commit_id

    def _resolve_commit(self, tx: Transaction, number: int, expression: str) -> Commit:
        """Return the commit of a ref expression.

        Raises:
            InvalidRef: It names a staging area.
        """
        if expression.endswith("$"):
            raise InvalidRef(f"reference '{expression}': reference to staging area with $ is not a commit")
        resolved, _ = self._resolve(tx, number, expression)
        return self._commit(tx, number, resolved.commit_id)
