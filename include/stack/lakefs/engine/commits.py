"""Commits: prepare, check, apply."""

import functools
import threading
from collections.abc import Callable, Mapping

from include.stack.lakefs.engine import protection, records, staging
from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.engine.graph import new_commit
from include.stack.lakefs.engine.records import BranchRow, RepositoryRow
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.engine.trees import Builder, apply_edits
from include.stack.lakefs.model import (
    Commit,
    DirtyBranch,
    NoChanges,
    Prepared,
    TooManyTries,
)

_FREE_TRIES = 3
_QUEUED_TRIES = 50
Check = Callable[[Prepared], None]
"""Runs between prepare and apply, where hooks belong; raising abandons the commit."""


class Commits(Core):
    """Part of the engine: making commits."""

    def commit(
        self,
        repository: str,
        branch: str,
        message: str,
        committer: str,
        metadata: Mapping[str, str] | None = None,
        *,
        date: int | None = None,
        allow_empty: bool = False,
        source_metarange: str | None = None,
        force: bool = False,
        check: Check | None = None,
    ) -> Commit:
        """Commit the branch's uncommitted changes: `prepare_commit`, `check`, `apply`.

        Where the branch moved in between it starts again, and so does `check`.

        Args:
            repository: Repository id.
            branch: Branch name.
            message: Commit message.
            committer: Name of the user.
            metadata: The user's key-value pairs.
            date: Unix time in seconds in place of now.
            allow_empty: Commit even where nothing changed.
            source_metarange: Commit this tree as it is; the branch must have no uncommitted changes.
            force: Write to a read-only repository.
            check: Runs between prepare and apply.

        Raises:
            NoChanges: `commit: no changes`.
            NotFound: `branch not found`.
            Protected: A rule blocks commits.
            DirtyBranch: `source_metarange` on a branch with uncommitted changes.
            TooManyTries: The branch kept moving.
        """
        prepare = functools.partial(
            self.prepare_commit,
            *(repository, branch, message, committer, metadata),
            date=date,
            allow_empty=allow_empty,
            source_metarange=source_metarange,
            force=force,
        )
        return self._settle(repository, branch, prepare, check)

    def prepare_commit(
        self,
        repository: str,
        branch: str,
        message: str,
        committer: str,
        metadata: Mapping[str, str] | None = None,
        *,
        date: int | None = None,
        allow_empty: bool = False,
        source_metarange: str | None = None,
        force: bool = False,
    ) -> Prepared:
        """Seal the branch's staging area and build the commit without moving the branch.

        Writes that arrive later go to a new staging area and are not part of it.
        """

        def seal(tx: Transaction, row: RepositoryRow) -> None:
            protection.check_action(tx, row, branch, "commit", force=force)
            held = records.get_branch(tx, row.number, branch)
            if source_metarange is not None and self._is_dirty(tx, row.number, held):
                raise DirtyBranch(
                    "cannot use source MetaRange on a branch with uncommitted changes", branch=branch
                )
            self._seal(tx, row.number, held)

        self._write(repository, seal)
        with self._reading(repository) as (tx, row):
            held = records.get_branch(tx, row.number, branch)
            head = self._commit(tx, row.number, held.head)
            builder = self._builder(row.number)
            if source_metarange is None:
                edits = staging.scan(tx, held.sealed)
                tree_id, changed = apply_edits(self._tree(tx, row.number, head.meta_range_id), edits, builder)
                if not changed and not allow_empty:
                    raise NoChanges("commit: no changes", branch=branch)
            else:
                tree_id = self._tree(tx, row.number, source_metarange).id
        commit = new_commit(
            (head,), tree_id, committer=committer, message=message, metadata=metadata or {}, date=date
        )
        return Prepared(repository, branch, commit, held.head, held.sealed, chunks=builder.chunks)

    def apply(self, prepared: Prepared) -> Commit | None:
        """Make a prepared commit the head of its branch in one compare-and-set.

        Returns:
            The commit; None where the branch moved, or was reset, since it was prepared.
        """

        def move(tx: Transaction, row: RepositoryRow) -> Commit | None:
            branch = records.get_branch(tx, row.number, prepared.branch)
            newer = len(branch.sealed) - len(prepared.sealed)
            if branch.head != prepared.expected_head or newer < 0 or branch.sealed[newer:] != prepared.sealed:
                return None
            self._chunks.save(tx, row.number, prepared.chunks.items())
            self._put_commit(tx, row.number, prepared.commit)
            moved = branch._replace(head=prepared.commit.id, sealed=branch.sealed[:newer])
            records.put_branch(tx, row.number, moved)
            staging.drop(tx, prepared.sealed)
            return prepared.commit

        return self._write(prepared.repository, move)

    def _settle(
        self, repository: str, branch: str, prepare: Callable[[], Prepared], check: Check | None
    ) -> Commit:
        """Prepare, check and apply until the branch did not move in between.

        A few tries are free; who loses them all queues up with the other losers of that branch, so
        that many clients who merge into one branch all get their turn.
        """
        commit = self._try_to_settle(prepare, check, _FREE_TRIES)
        if commit is None:
            with self._queues.setdefault((repository, branch), threading.Lock()):
                commit = self._try_to_settle(prepare, check, _QUEUED_TRIES)
        if commit is None:
            raise TooManyTries("Too many attempts, try again later", repository=repository, branch=branch)
        return commit

    def _try_to_settle(
        self, prepare: Callable[[], Prepared], check: Check | None, tries: int
    ) -> Commit | None:
        for _ in range(tries):
            prepared = prepare()
            if check is not None:
                check(prepared)
            if (commit := self.apply(prepared)) is not None:
                return commit
        return None

    @staticmethod
    def _seal(tx: Transaction, number: int, branch: BranchRow) -> None:
        """Close the branch's staging area, if it holds anything, and open a fresh one."""
        if staging.holds_any(tx, (branch.token,)):
            sealed = (branch.token, *branch.sealed)
            records.put_branch(tx, number, branch._replace(token=staging.new_token(tx), sealed=sealed))

    def _builder(self, number: int) -> Builder:
        """Return a builder that stores what exceeds its memory."""
        return Builder(
            lambda chunks: self._store.write(lambda tx: self._chunks.save(tx, number, chunks.items()))
        )
