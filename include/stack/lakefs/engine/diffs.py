"""Diffs between refs and of a branch's uncommitted changes."""

from collections.abc import Callable, Iterator

import msgspec

from include.stack.lakefs.engine import records, staging
from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.engine.differences import (
    Difference,
    merge_differences,
    staged_differences,
    tree_differences,
)
from include.stack.lakefs.engine.graph import merge_base
from include.stack.lakefs.engine.paging import path_page
from include.stack.lakefs.engine.ranges import Edit
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.engine.trees import EMPTY, Tree
from include.stack.lakefs.model import Change, DiffType, Page

_Scan = Callable[[str], Iterator[Change]]


class Diffs(Core):
    """Part of the engine: what changed."""

    def diff(
        self,
        repository: str,
        left: str,
        right: str,
        *,
        type: DiffType = "three_dot",  # noqa: A002
        prefix: str = "",
        after: str = "",
        delimiter: str = "",
        amount: int = 1000,
    ) -> Page[Change]:
        """List what changed from left to right by path.

        `two_dot` compares the two trees. `three_dot` lists what merging `right` into `left` would
        change: changes of right since the common ancestor, `conflict` where left changed it too.
        """
        with self._reading(repository) as (tx, row):
            differences = (
                self._two_dot(tx, row.number, left, right)
                if type == "two_dot"
                else self._three_dot(tx, row.number, left, right)
            )
            return _page(differences, prefix, after, delimiter, amount)

    def diff_branch(
        self,
        repository: str,
        branch: str,
        *,
        prefix: str = "",
        after: str = "",
        delimiter: str = "",
        amount: int = 1000,
    ) -> Page[Change]:
        """List the branch's uncommitted changes by path; writes back to the committed value are none."""
        with self._reading(repository) as (tx, row):
            held = records.get_branch(tx, row.number, branch)
            tree = self._tree_at(tx, row.number, held.head)

            def scan(start: str) -> Iterator[Change]:
                for difference in staged_differences(tree, staging.scan(tx, held.tokens, start)):
                    change = difference.change()
                    # Like lakeFS, whose staging area holds nothing of what it removes.
                    yield change if change.entry else msgspec.structs.replace(change, size_bytes=0)

            return _page(scan, prefix, after, delimiter, amount)

    def is_dirty(self, repository: str, branch: str) -> bool:
        """Whether the branch has uncommitted changes."""
        with self._reading(repository) as (tx, row):
            return self._is_dirty(tx, row.number, records.get_branch(tx, row.number, branch))

    def _two_dot(self, tx: Transaction, number: int, left: str, right: str) -> _Scan:
        before = self._tree(tx, number, self._resolve_commit(tx, number, left).meta_range_id)
        resolved, branch = self._resolve(tx, number, right)
        after = self._tree_at(tx, number, resolved.commit_id)
        # Only `branch$` brings uncommitted changes into a diff; a bare branch is its last commit.
        tokens = branch.tokens if branch is not None and right.endswith("$") else ()

        def scan(start: str) -> Iterator[Change]:
            committed = tree_differences(before, after, start)
            if not tokens:
                return (difference.change() for difference in committed)
            return _upon(before, committed, staging.scan(tx, tokens, start))

        return scan

    def _three_dot(self, tx: Transaction, number: int, left: str, right: str) -> _Scan:
        source = self._resolve_commit(tx, number, right)
        destination = self._resolve_commit(tx, number, left)
        base = merge_base(source, destination, self._finder(tx, number))
        theirs = self._tree(tx, number, source.meta_range_id)
        ours = self._tree(tx, number, destination.meta_range_id)
        origin = self._tree(tx, number, base.meta_range_id if base else EMPTY)

        def scan(start: str) -> Iterator[Change]:
            for difference, conflicts in merge_differences(ours, theirs, origin, start):
                yield difference.change("conflict" if conflicts else None)

        return scan


def _upon(before: Tree, committed: Iterator[Difference], edits: Iterator[Edit]) -> Iterator[Change]:
    """Yield the changes of a diff with the uncommitted edits of its right side upon it."""
    difference = next(committed, None)
    for path, row in edits:
        while difference is not None and difference.path < path:
            yield difference.change()
            difference = next(committed, None)
        if difference is not None and difference.path == path:
            difference = next(committed, None)
        for edited in staged_differences(before, [(path, row)]):
            yield edited.change()
    while difference is not None:
        yield difference.change()
        difference = next(committed, None)


def _page(scan: _Scan, prefix: str, after: str, delimiter: str, amount: int) -> Page[Change]:
    return path_page(
        scan,
        lambda change: change.path,
        lambda common: Change("prefix_changed", "common_prefix", common),
        prefix=prefix,
        after=after,
        delimiter=delimiter,
        amount=amount,
    )
