"""Objects of a ref: staging on branches, reading through any ref expression."""

from collections.abc import Iterable, Sequence

from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.model import CommonPrefix, Entry, Page, ResetKind


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
            NotFound: `branch not found`.
            PreconditionFailed: The condition does not hold; checked and written in one transaction.
            Protected: A rule blocks staging writes.
            Invalid: The path is empty or longer than 1024 bytes.
        """
        raise NotImplementedError

    def stage_many(
        self, repository: str, branch: str, entries: Iterable[Entry], *, force: bool = False
    ) -> int:
        """Put many entries in one transaction; returns how many."""
        raise NotImplementedError

    def check_writable(self, repository: str, branch: str, *, force: bool = False) -> None:
        """Check that a staging write would be admitted, before its bytes are uploaded.

        Raises:
            NotFound: Repository or branch do not exist.
            Protected: A rule blocks staging writes.
            ReadOnly: The repository is read-only.
        """
        raise NotImplementedError

    def delete(self, repository: str, branch: str, path: str, *, force: bool = False) -> None:
        """Delete a path from the branch, uncommitted; deleting what is not there succeeds.

        Raises:
            NotFound: `branch not found`.
            Protected: A rule blocks staging writes.
        """
        raise NotImplementedError

    def delete_many(self, repository: str, branch: str, paths: Sequence[str], *, force: bool = False) -> None:
        """Delete many paths in one transaction."""
        raise NotImplementedError

    def get_entry(self, repository: str, ref: str, path: str) -> Entry:
        """Return the entry at a path as the ref sees it.

        Raises:
            NotFound: No such ref or path.
        """
        raise NotImplementedError

    def is_gone(self, repository: str, entry: Entry) -> bool:
        """Whether garbage collection removed the entry's bytes: reading them answers 410."""
        raise NotImplementedError

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
        raise NotImplementedError

    def reset(
        self, repository: str, branch: str, kind: ResetKind = "all", path: str = "", *, force: bool = False
    ) -> None:
        """Drop uncommitted changes: all, those under a prefix, or that of one path.

        Raises:
            NotFound: `branch not found`, or `path` has no object and no uncommitted change.
            Protected: A rule blocks staging writes.
        """
        raise NotImplementedError

    def issue_address(self, repository: str, branch: str, physical_address: str, *, expires_at: int) -> None:
        """Record that a client may upload to an address and link it until `expires_at` (unix s)."""
        raise NotImplementedError

    def claim_address(self, repository: str, physical_address: str) -> bool:
        """Use up an issued address that has not expired; False if it is unknown, used or expired."""
        raise NotImplementedError
