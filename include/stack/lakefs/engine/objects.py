"""Objects of a ref: staging on branches, reading through any ref expression."""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence

from include.stack.lakefs.engine import names, protection, records, staging
from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.engine.paging import after_prefix, path_page
from include.stack.lakefs.engine.ranges import Row, row_of
from include.stack.lakefs.engine.records import BranchRow, RepositoryRow
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.model import (
    CommonPrefix,
    Entry,
    Gone,
    NotFound,
    Page,
    PreconditionFailed,
    ResetKind,
)


class Objects(Core):
    """Part of the engine: entries by path."""

    def stage(
        self,
        repository: str,
        branch: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        force: bool = False,
    ) -> None:
        """Put an entry on the branch, uncommitted; durable when this returns.

        Args:
            repository: Repository id.
            branch: Branch name (not an expression).
            entry: What to put.
            if_absent: Only where the path holds no object (If-None-Match: *).
            if_match: Only where the path holds an object with this checksum.
            force: Write to a read-only repository.

        Raises:
            Gone: Garbage collection took the bytes at its address.
            NotFound: `branch not found`.
            PreconditionFailed: The condition does not hold; checked and written in one transaction.
            Protected: A rule blocks staging writes.
            Invalid: The path is empty or longer than 1024 bytes.
        """
        names.check_path(entry.path)
        edit = (entry.path, row_of(entry))

        def put(tx: Transaction, row: RepositoryRow) -> None:
            held = self._writable(tx, row, branch, force=force)
            _check_not_gone(tx, row.number, [entry])
            if if_absent or if_match is not None:
                present = self._find(tx, row.number, held, entry.path)
                if if_absent and present is not None:
                    raise PreconditionFailed("path already exists", path=entry.path)
                if if_match is not None and (present is None or present.entry().checksum != if_match):
                    raise PreconditionFailed("precondition failed", path=entry.path)
            staging.put(tx, held.token, [edit])

        self._write(repository, put)

    def stage_many(
        self, repository: str, branch: str, entries: Iterable[Entry], *, force: bool = False
    ) -> int:
        """Put many entries in one transaction; returns how many."""
        held = list(entries)
        for entry in held:
            names.check_path(entry.path)
        edits = [(entry.path, row_of(entry)) for entry in held]

        def put(tx: Transaction, row: RepositoryRow) -> int:
            token = self._writable(tx, row, branch, force=force).token
            _check_not_gone(tx, row.number, held)
            staging.put(tx, token, edits)
            return len(edits)

        return self._write(repository, put)

    def check_writable(self, repository: str, branch: str, *, force: bool = False) -> None:
        """Check that a staging write would be admitted, before its bytes are uploaded.

        Raises:
            NotFound: Repository or branch do not exist.
            Protected: A rule blocks staging writes.
            ReadOnly: The repository is read-only.
        """
        with self._reading(repository) as (tx, row):
            self._writable(tx, row, branch, force=force)

    def delete(self, repository: str, branch: str, path: str, *, force: bool = False) -> None:
        """Delete a path from the branch, uncommitted; deleting what is not there succeeds.

        Raises:
            NotFound: `branch not found`.
            Protected: A rule blocks staging writes.
        """
        self.delete_many(repository, branch, [path], force=force)

    def delete_many(self, repository: str, branch: str, paths: Sequence[str], *, force: bool = False) -> None:
        """Delete many paths in one transaction."""
        for path in paths:
            names.check_path(path)

        def bury(tx: Transaction, row: RepositoryRow) -> None:
            held = self._writable(tx, row, branch, force=force)
            committed = self._tree_at(tx, row.number, held.head)
            for path in paths:
                if committed.get(path) or staging.find(tx, held.sealed, path):
                    staging.put(tx, held.token, [(path, None)])
                else:
                    staging.drop_path(tx, held.token, path)

        self._write(repository, bury)

    def get_entry(self, repository: str, ref: str, path: str) -> Entry:
        """Return the entry at a path as the ref sees it.

        Raises:
            NotFound: No such ref or path.
        """
        with self._reading(repository) as (tx, row):
            resolved, branch = self._resolve(tx, row.number, ref)
            if branch is not None:
                found = self._find(tx, row.number, branch, path)
            else:
                found = self._tree_at(tx, row.number, resolved.commit_id).get(path)
        if found is None:
            raise NotFound("not found", ref=ref, path=path)
        return found.entry()

    def is_gone(self, repository: str, entry: Entry) -> bool:
        """Whether garbage collection removed the entry's bytes: reading them answers 410."""
        with self._reading(repository) as (tx, row):
            return _is_gone(tx, row.number, entry)

    def list_entries(
        self,
        repository: str,
        ref: str,
        *,
        prefix: str = "",
        after: str = "",
        delimiter: str = "",
        amount: int = 1000,
    ) -> Page[Entry | CommonPrefix]:
        """List entries under a prefix by path; with a delimiter, deeper ones as common prefixes.

        Continues strictly after `after`; an `after` that is a common prefix skips all beneath it.
        """
        with self._reading(repository) as (tx, row):
            resolved, branch = self._resolve(tx, row.number, ref)
            tree = self._tree_at(tx, row.number, resolved.commit_id)

            def scan(start: str) -> Iterator[Row | CommonPrefix]:
                if branch is None:
                    return tree.scan(start)
                return staging.overlay(staging.scan(tx, branch.tokens, start), tree.scan(start))

            page = path_page(
                scan,
                lambda found: found.path,
                CommonPrefix,
                prefix=prefix,
                after=after,
                delimiter=delimiter,
                amount=amount,
            )
        results = [found.entry() if isinstance(found, Row) else found for found in page.results]
        return Page(results, page.has_more, page.next_offset, page.max_per_page)

    def reset(
        self, repository: str, branch: str, kind: ResetKind = "all", path: str = "", *, force: bool = False
    ) -> None:
        """Drop uncommitted changes: all, those under a prefix, or that of one path if it has any.

        Raises:
            NotFound: `branch not found`.
            Protected: A rule blocks staging writes.
        """

        def drop(tx: Transaction, row: RepositoryRow) -> None:
            held = self._writable(tx, row, branch, force=force)
            if kind == "all":
                staging.drop(tx, held.tokens)
                records.put_branch(tx, row.number, held._replace(token=staging.new_token(tx), sealed=()))
                return
            stop = after_prefix(path) if kind == "prefix" else path + "\0"
            staging.drop_between(tx, held.token, path, stop)
            # A commit under way may hold sealed edits: they are not taken away but undone above them.
            committed = self._tree_at(tx, row.number, held.head)
            sealed = itertools.takewhile(
                lambda edit: stop is None or edit[0] < stop, staging.scan(tx, held.sealed, path)
            )
            staging.put(tx, held.token, [(undone, committed.get(undone)) for undone, _ in sealed])

        self._write(repository, drop)

    def issue_address(self, repository: str, branch: str, physical_address: str, *, expires_at: int) -> None:
        """Record that a client may upload to an address and link it until `expires_at` (unix s)."""

        def issue(tx: Transaction, row: RepositoryRow) -> None:
            self._writable(tx, row, branch)
            tx.execute("DELETE FROM addresses WHERE expires_at <= ?", (int(time.time()),))
            tx.execute(
                "INSERT OR REPLACE INTO addresses VALUES (?, ?, ?)",
                (row.number, physical_address, expires_at),
            )

        self._write(repository, issue)

    def claim_address(self, repository: str, physical_address: str) -> bool:
        """Use up an issued address that has not expired; False if it is unknown, used or expired."""

        def claim(tx: Transaction, row: RepositoryRow) -> bool:
            claimed = tx.execute(
                "DELETE FROM addresses WHERE repository = ? AND address = ? AND expires_at > ?",
                (row.number, physical_address, int(time.time())),
            )
            return claimed.rowcount > 0

        return self._write(repository, claim)

    def _find(self, tx: Transaction, number: int, branch: BranchRow, path: str) -> Row | None:
        """Return what a branch holds at a path, uncommitted changes included."""
        edit = staging.find(tx, branch.tokens, path)
        return edit[1] if edit is not None else self._tree_at(tx, number, branch.head).get(path)

    @staticmethod
    def _writable(tx: Transaction, row: RepositoryRow, branch: str, *, force: bool = False) -> BranchRow:
        """Return the branch if it takes staging writes."""
        protection.check_action(tx, row, branch, "staging_write", force=force)
        return records.get_branch(tx, row.number, branch)


def _check_not_gone(tx: Transaction, number: int, entries: Iterable[Entry]) -> None:
    """Check that garbage collection did not take the bytes of entries about to be staged."""
    if not tx.execute("SELECT 1 FROM gone WHERE repository = ? LIMIT 1", (number,)).fetchone():
        return
    for entry in entries:
        if _is_gone(tx, number, entry):
            raise Gone("No data", path=entry.path)


def _is_gone(tx: Transaction, number: int, entry: Entry) -> bool:
    query = "SELECT 1 FROM gone WHERE repository = ? AND address = ?"
    return tx.execute(query, (number, entry.physical_address)).fetchone() is not None
