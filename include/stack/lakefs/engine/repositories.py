"""Repositories, their user metadata and their settings documents."""

import itertools
from collections.abc import Mapping

import msgspec

from include.stack.lakefs.engine import names, protection, records, staging
from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.engine.graph import new_commit
from include.stack.lakefs.engine.paging import name_page
from include.stack.lakefs.engine.records import BranchRow, RepositoryRow
from include.stack.lakefs.engine.store import REPOSITORY_TABLES, Transaction
from include.stack.lakefs.engine.trees import EMPTY
from include.stack.lakefs.model import (
    AlreadyExists,
    Document,
    Page,
    PreconditionFailed,
    ProtectionRule,
    Repository,
)


class Repositories(Core):
    """Part of the engine: what exists and how it is configured."""

    def create_repository(
        self,
        repository: str,
        storage_namespace: str,
        default_branch: str = "main",
        *,
        read_only: bool = False,
    ) -> Repository:
        """Create a repository whose default branch holds one initial, empty commit.

        Raises:
            Invalid: The id does not match `^[a-z0-9][a-z0-9-]{2,62}$` or the branch name is bad.
            AlreadyExists: The id is taken.
        """
        names.check_repository(repository)
        names.check_branch(default_branch)
        first = new_commit((), EMPTY, committer="", message="Repository created", metadata={})
        now = first.creation_date
        record = Repository(repository, storage_namespace, default_branch, now, read_only)

        def create(tx: Transaction) -> Repository:
            if tx.execute("SELECT 1 FROM repositories WHERE id = ?", (repository,)).fetchone():
                raise AlreadyExists("repository already exists: not unique", repository=repository)
            row = (None, repository, storage_namespace, default_branch, now, read_only)
            number = tx.execute("INSERT INTO repositories VALUES (?, ?, ?, ?, ?, ?)", row).lastrowid or 0
            self._put_commit(tx, number, first)
            head = BranchRow(default_branch, first.id, staging.new_token(tx), (), hidden=False)
            records.put_branch(tx, number, head)
            return record

        return self._store.write(create)

    def get_repository(self, repository: str) -> Repository:
        """Return the repository.

        Raises:
            NotFound: There is none of that id.
        """
        with self._reading(repository) as (_, row):
            return row.repository

    def list_repositories(
        self, *, prefix: str = "", search: str = "", after: str = "", amount: int = 1000
    ) -> Page[Repository]:
        """List repositories by id; `search` keeps ids that contain it."""
        with self._store.snapshot() as tx:
            matching = (
                row.repository
                for row in records.scan_repositories(tx, after)
                if row.repository.id.startswith(prefix) and search in row.repository.id
            )
            return name_page(list(itertools.islice(matching, amount + 1)), amount, lambda found: found.id)

    def delete_repository(self, repository: str, *, force: bool = False) -> None:
        """Delete the repository with everything in it; objects in the blockstore stay."""

        def delete(tx: Transaction, row: RepositoryRow) -> None:
            protection.check_read_only(row, force=force)
            for branch in records.scan_branches(tx, row.number):
                staging.drop(tx, branch.tokens)
            for table in REPOSITORY_TABLES:
                tx.execute(f"DELETE FROM {table} WHERE repository = ?", (row.number,))  # noqa: S608
            tx.execute("DELETE FROM repositories WHERE number = ?", (row.number,))

        self._write(repository, delete)

    def get_metadata(self, repository: str) -> dict[str, str]:
        """Return the repository's user metadata."""
        with self._reading(repository) as (tx, row):
            return dict(
                tx.execute("SELECT key, value FROM metadata WHERE repository = ? ORDER BY key", (row.number,))
            )

    def set_metadata(self, repository: str, values: Mapping[str, str]) -> None:
        """Set the given keys of the repository's user metadata; other keys stay."""

        def store(tx: Transaction, row: RepositoryRow) -> None:
            put_metadata(tx, row.number, values)

        self._write(repository, store)

    def delete_metadata(self, repository: str, keys: list[str]) -> None:
        """Delete the given keys of the repository's user metadata; absent ones are passed over."""

        def delete(tx: Transaction, row: RepositoryRow) -> None:
            tx.executemany(
                "DELETE FROM metadata WHERE repository = ? AND key = ?", ((row.number, key) for key in keys)
            )

        self._write(repository, delete)

    def get_document(self, repository: str, name: str) -> Document | None:
        """Return a settings document (branch protection, gc rules, ...), None if never set."""
        with self._reading(repository) as (tx, row):
            return records.find_document(tx, row.number, name)

    def set_document(
        self, repository: str, name: str, body: bytes, *, if_match: str | None = None
    ) -> Document:
        """Store a settings document.

        Args:
            repository: Repository id.
            name: Name of the document.
            body: Its bytes.
            if_match: None stores it whatever is there; a checksum requires that it is the present
                one; "" requires that there is none.

        Raises:
            PreconditionFailed: `if_match` does not hold.
        """

        def store(tx: Transaction, row: RepositoryRow) -> Document:
            held = records.find_document(tx, row.number, name)
            if if_match is not None and if_match != (held.checksum if held else ""):
                raise PreconditionFailed("precondition failed", document=name)
            return records.put_document(tx, row.number, name, body)

        return self._write(repository, store)

    def delete_document(self, repository: str, name: str) -> bool:
        """Delete a settings document; returns whether there was one."""
        return self._write(repository, lambda tx, row: records.drop_document(tx, row.number, name))

    def get_protection_rules(self, repository: str) -> tuple[list[ProtectionRule], str]:
        """Return the branch protection rules and their checksum ("" where none were ever set)."""
        document = self.get_document(repository, protection.DOCUMENT)
        if document is None:
            return [], ""
        return list(protection.decode_rules(document.body)), document.checksum

    def set_protection_rules(
        self, repository: str, rules: list[ProtectionRule], *, if_match: str | None = None
    ) -> str:
        """Replace the branch protection rules; returns the new checksum.

        Raises:
            PreconditionFailed: `if_match` (see `set_document`) does not hold.
        """
        body = msgspec.json.encode(rules)
        return self.set_document(repository, protection.DOCUMENT, body, if_match=if_match).checksum


def put_metadata(tx: Transaction, number: int, values: Mapping[str, str]) -> None:
    """Set keys of a repository's user metadata."""
    tx.executemany(
        "INSERT OR REPLACE INTO metadata VALUES (?, ?, ?)",
        ((number, key, value) for key, value in values.items()),
    )
