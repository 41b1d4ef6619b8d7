"""Merge, revert and cherry-pick: commits made from other commits' trees."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from include.stack.lakefs.engine import protection, records, staging
from include.stack.lakefs.engine.commits import Check, Commits
from include.stack.lakefs.engine.differences import merge_differences, staged_differences
from include.stack.lakefs.engine.graph import merge_base, new_commit
from include.stack.lakefs.engine.ranges import Edit
from include.stack.lakefs.engine.records import BranchRow, RepositoryRow
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.engine.trees import EMPTY, Builder, Tree, apply_edits
from include.stack.lakefs.model import (
    Commit,
    Conflict,
    DirtyBranch,
    Invalid,
    MergeStrategy,
    NoChanges,
    Prepared,
)

STRATEGY_KEY = ".lakefs.merge.strategy"
_CONFLICTS_NAMED = 10

Build = Callable[[Transaction, int, Commit, Builder], Commit]
"""Makes the commit that is to follow a head, in the repository of that number."""


class _Trees(NamedTuple):
    """Ids of the three trees of a merge."""

    destination: str
    source: str
    base: str


class Merges(Commits):
    """Part of the engine: bringing changes from elsewhere onto a branch.

    All need a destination without uncommitted changes, all are one compare-and-set, and all run
    `check` between prepare and apply.
    """

    def merge(
        self,
        repository: str,
        source: str,
        destination: str,
        committer: str,
        message: str = "",
        metadata: Mapping[str, str] | None = None,
        *,
        strategy: MergeStrategy = MergeStrategy.NONE,
        squash: bool = False,
        allow_empty: bool = False,
        force: bool = False,
        check: Check | None = None,
    ) -> Commit:
        """Merge a ref into a branch, three-way per path against their best common ancestor.

        Args:
            repository: Repository id.
            source: Ref expression.
            destination: Branch name.
            committer: Name of the user.
            message: Default: `Merge '<source>' into '<destination>'`.
            metadata: The user's key-value pairs.
            strategy: Who wins where both changed a path differently; recorded in the metadata.
            squash: Leave the source out of the parents.
            allow_empty: Commit even where nothing changed.
            force: Write to a read-only repository.
            check: Runs between prepare and apply.

        Returns:
            The merge commit: parents (destination, source), or (destination) if squashed.

        Raises:
            Conflict: `conflict found`, with the first paths.
            NoChanges: The source brings nothing.
            DirtyBranch: `uncommitted changes (dirty branch)`.
            NotFound: A ref does not exist.
            TooManyTries: The branch kept moving.
        """
        kept = {**(metadata or {}), STRATEGY_KEY: str(strategy)}
        text = message or f"Merge '{source}' into '{destination}'"

        def build(tx: Transaction, number: int, head: Commit, builder: Builder) -> Commit:
            merged = self._resolve_commit(tx, number, source)
            base = merge_base(merged, head, self._finder(tx, number))
            if base is None:
                raise Invalid("no merge base", source=source, destination=destination)
            trees = _Trees(head.meta_range_id, merged.meta_range_id, base.meta_range_id)
            if trees.source == trees.base and not allow_empty and not force:
                raise NoChanges(f"update branch {destination}: no changes", source=source)
            tree_id = self._merge_trees(tx, number, trees, builder, strategy, f"update branch {destination}")
            parents = (head,) if squash else (head, merged)
            return new_commit(parents, tree_id, committer=committer, message=text, metadata=kept)

        return self._commit_onto(repository, destination, build, force=force, check=check, source_ref=source)

    def revert(
        self,
        repository: str,
        branch: str,
        ref: str,
        committer: str,
        *,
        parent_number: int = 0,
        message: str = "",
        metadata: Mapping[str, str] | None = None,
        allow_empty: bool = False,
        force: bool = False,
        check: Check | None = None,
    ) -> Commit:
        """Undo what a commit changed relative to one parent, as a new commit on the branch.

        Args:
            repository: Repository id.
            branch: Branch name.
            ref: Commit to undo.
            committer: Name of the user.
            parent_number: 1-based parent to compare with; must be given for a merge commit.
            message: Default: `Revert <commit id>`.
            metadata: The user's key-value pairs.
            allow_empty: Commit even where nothing changed.
            force: Write to a read-only repository.
            check: Runs between prepare and apply.

        Raises:
            Conflict: Later changes of the branch touch the same paths.
            Invalid: A merge commit without, or a commit without that, parent number.
            NoChanges, DirtyBranch, NotFound, TooManyTries: As for merge.
        """
        text = message or f"Revert {ref}"

        def build(tx: Transaction, number: int, head: Commit, builder: Builder) -> Commit:
            undone = self._resolve_commit(tx, number, ref)
            if len(undone.parents) > 1 and parent_number <= 0:
                raise Conflict("must specify 1-based parent number for reverting merge commit")
            before = self._parent_tree(tx, number, undone, max(parent_number, 1))
            trees = _Trees(head.meta_range_id, before, undone.meta_range_id)
            tree_id = self._merge_trees(tx, number, trees, builder, MergeStrategy.NONE, "update branch")
            if tree_id == head.meta_range_id and not allow_empty:
                raise NoChanges("update branch: no changes", ref=ref)
            return new_commit((head,), tree_id, committer=committer, message=text, metadata=metadata or {})

        return self._commit_onto(repository, branch, build, force=force, check=check, source_ref=ref)

    def cherry_pick(
        self,
        repository: str,
        branch: str,
        ref: str,
        committer: str,
        *,
        parent_number: int | None = None,
        message: str = "",
        metadata: Mapping[str, str] | None = None,
        force: bool = False,
        check: Check | None = None,
    ) -> Commit:
        """Repeat what a commit changed relative to one parent, as a new commit on the branch.

        Arguments and errors as for `revert`; default message and metadata are the picked commit's.
        """

        def build(tx: Transaction, number: int, head: Commit, builder: Builder) -> Commit:
            picked = self._resolve_commit(tx, number, ref)
            if parent_number is None and len(picked.parents) > 1:
                raise Invalid("must specify 1-based parent number for cherry-pick merge commit")
            before = self._parent_tree(tx, number, picked, 1 if parent_number is None else parent_number)
            trees = _Trees(head.meta_range_id, picked.meta_range_id, before)
            if trees.source == trees.base:
                raise NoChanges("update branch: no changes", ref=ref)
            tree_id = self._merge_trees(tx, number, trees, builder, MergeStrategy.NONE, "update branch")
            origin = {"cherry-pick-origin": picked.id, "cherry-pick-committer": picked.committer}
            return new_commit(
                (head,),
                tree_id,
                committer=committer,
                message=message or picked.message,
                metadata={**(picked.metadata if metadata is None else metadata), **origin},
            )

        return self._commit_onto(repository, branch, build, force=force, check=check, source_ref=ref)

    def _commit_onto(
        self,
        repository: str,
        branch: str,
        build: Build,
        *,
        force: bool,
        check: Check | None,
        source_ref: str = "",
    ) -> Commit:
        """Commit what `build` makes from the head of a branch without uncommitted changes."""

        def prepare() -> Prepared:
            self._write(repository, lambda tx, row: self._seal_clean(tx, row, branch, force=force))
            with self._reading(repository) as (tx, row):
                held = records.get_branch(tx, row.number, branch)
                # What was sealed since belongs to a commit under way: it must not be dropped with ours.
                self._check_clean(tx, row.number, held, held.sealed)
                builder = self._builder(row.number)
                commit = build(tx, row.number, self._commit(tx, row.number, held.head), builder)
                return Prepared(
                    repository, branch, commit, held.head, held.sealed, source_ref, builder.chunks
                )

        return self._settle(repository, branch, prepare, check)

    def _seal_clean(self, tx: Transaction, row: RepositoryRow, branch: str, *, force: bool) -> None:
        """Seal edits that change nothing, lest they come to change something upon the new head."""
        protection.check_read_only(row, force=force)
        held = records.get_branch(tx, row.number, branch)
        self._check_clean(tx, row.number, held, held.tokens)
        self._seal(tx, row.number, held)

    def _check_clean(self, tx: Transaction, number: int, branch: BranchRow, tokens: tuple[int, ...]) -> None:
        tree = self._tree_at(tx, number, branch.head)
        if next(staged_differences(tree, staging.scan(tx, tokens)), None) is not None:
            raise DirtyBranch("uncommitted changes (dirty branch)", branch=branch.name)

    def _parent_tree(self, tx: Transaction, number: int, commit: Commit, parent: int) -> str:
        """Return the tree id of a commit's 1-based parent; the first commit follows the empty tree."""
        if not commit.parents and parent == 1:
            return EMPTY
        if not 1 <= parent <= len(commit.parents):
            raise Invalid(f"given commit does not have the given parent number: parent {parent}")
        return self._commit(tx, number, commit.parents[parent - 1]).meta_range_id

    def _merge_trees(
        self,
        tx: Transaction,
        number: int,
        ids: _Trees,
        builder: Builder,
        strategy: MergeStrategy,
        context: str,
    ) -> str:
        """Return the id of the destination's tree with what changed from base to source."""
        if ids.source == ids.base:
            return ids.destination
        if ids.destination == ids.base:
            return ids.source
        destination, source, base = (self._tree(tx, number, tree_id) for tree_id in ids)
        edits = _merge_edits(destination, source, base, strategy, context)
        return apply_edits(destination, edits, builder)[0]


def _merge_edits(
    destination: Tree, source: Tree, base: Tree, strategy: MergeStrategy, context: str
) -> Iterator[Edit]:
    """Yield what a merge does to the destination.

    Raises:
        Conflict: Both sides changed the same paths differently and no strategy decides.
    """
    found = merge_differences(destination, source, base)
    for difference, conflicts in found:
        if conflicts and strategy == MergeStrategy.NONE:
            more = (other.path for other, conflicts_too in found if conflicts_too)
            raise Conflict(
                f"{context}: conflict found", [difference.path, *itertools.islice(more, _CONFLICTS_NAMED - 1)]
            )
        if not conflicts or strategy == MergeStrategy.SOURCE_WINS:
            yield difference.path, difference.right
