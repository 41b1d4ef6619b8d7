"""Reading commits and their history."""

import itertools
from collections.abc import Iterator, Sequence

from include.stack.lakefs.engine import protection
from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.engine.differences import tree_differences
from include.stack.lakefs.engine.graph import merge_base, walk
from include.stack.lakefs.engine.paging import name_page
from include.stack.lakefs.engine.records import RepositoryRow
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.model import AlreadyExists, Commit, MergeBase, NotFound, Page


class History(Core):
    """Part of the engine: commits that are there."""

    def get_commit(self, repository: str, ref: str) -> Commit:
        """Return the commit that a ref expression comes to.

        Raises:
            NotFound: There is none.
        """
        with self._reading(repository) as (tx, row):
            return self._resolve_commit(tx, row.number, ref)

    def find_commit(self, repository: str, commit_id: str) -> Commit:
        """Return the commit with a full id or a unique prefix of one."""
        with self._reading(repository) as (tx, row):
            matching = self._commits_starting_with(tx, row.number, commit_id)
            if commit_id not in matching and len(matching) != 1:
                raise NotFound("commit not found", commit=commit_id)
            return self._commit(tx, row.number, matching[0])

    def log(
        self,
        repository: str,
        ref: str,
        *,
        after: str = "",
        amount: int = 100,
        objects: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        limit: bool = False,
        first_parent: bool = False,
        since: int | None = None,
        stop_at: str | None = None,
    ) -> Page[Commit]:
        """List the history of a ref, newest first.

        Args:
            repository: Repository id.
            ref: Ref expression to start from.
            after: Commit id: continue after it.
            amount: Page size.
            objects: Keep commits that changed one of these paths.
            prefixes: Keep commits that changed something under one of these.
            limit: Stop after `amount` matches and tell nothing about more.
            first_parent: Follow first parents only.
            since: Only commits created at or after this unix time.
            stop_at: Ref expression: stop once this commit was listed.
        """
        with self._reading(repository) as (tx, row):
            start = self._resolve_commit(tx, row.number, ref)
            commits = walk(start, self._finder(tx, row.number), first_parent=first_parent, since=since)
            if stop_at is not None:
                commits = _until(commits, self._resolve_commit(tx, row.number, stop_at).id)
            if after:
                seen = self._resolve_commit(tx, row.number, after).id
                any(commit.id == seen for commit in commits)
            if objects or prefixes:
                commits = (
                    commit
                    for commit in commits
                    if (len(commit.parents) == 1 or (first_parent and commit.parents))
                    and self._touches(tx, row.number, commit, objects, prefixes)
                )
            found = list(itertools.islice(commits, amount if limit else amount + 1))
        return name_page(found, amount, lambda commit: commit.id)

    def merge_base(self, repository: str, source: str, destination: str) -> MergeBase:
        """Return the best common ancestor of two refs; its id is "" where there is none."""
        with self._reading(repository) as (tx, row):
            left = self._resolve_commit(tx, row.number, source)
            right = self._resolve_commit(tx, row.number, destination)
            base = merge_base(left, right, self._finder(tx, row.number))
            return MergeBase(left.id, right.id, base.id if base else "")

    def create_commit_record(self, repository: str, commit: Commit, *, force: bool = False) -> None:
        """Store a commit record as given, for restoring a dump.

        Raises:
            AlreadyExists: There is one of that id.
        """

        def store(tx: Transaction, row: RepositoryRow) -> None:
            protection.check_read_only(row, force=force)
            if not self._put_commit(tx, row.number, commit):
                raise AlreadyExists("commit already exists: not unique", commit=commit.id)

        self._write(repository, store)

    def _touches(
        self, tx: Transaction, number: int, commit: Commit, objects: Sequence[str], prefixes: Sequence[str]
    ) -> bool:
        """Whether a commit changed one of the objects, or something under a prefix, against its parent."""
        before = self._tree_at(tx, number, commit.parents[0])
        after = self._tree(tx, number, commit.meta_range_id)
        if before.id == after.id:
            return False
        for path in objects:
            old, new = before.get(path), after.get(path)
            if (old and old.identity) != (new and new.identity):
                return True
        for prefix in prefixes:
            nearest = next(tree_differences(before, after, prefix), None)
            if nearest is not None and nearest.path.startswith(prefix):
                return True
        return False


def _until(commits: Iterator[Commit], last: str) -> Iterator[Commit]:
    for commit in commits:
        yield commit
        if commit.id == last:
            return
