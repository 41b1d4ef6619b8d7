"""Diffs between refs and of a branch's uncommitted changes."""

from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.model import Change, DiffType, Page


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
        raise NotImplementedError

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
        raise NotImplementedError

    def is_dirty(self, repository: str, branch: str) -> bool:
        """Whether the branch has uncommitted changes."""
        raise NotImplementedError
