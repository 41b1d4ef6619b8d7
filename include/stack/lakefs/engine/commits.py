"""Commits: prepare, apply, and reading history."""

from collections.abc import Callable, Mapping, Sequence

from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.model import Commit, MergeBase, Page, Prepared

Check = Callable[[Prepared], None]
"""Runs between prepare and apply, where hooks belong; raising abandons the commit."""


class Commits(Core):
    """Part of the engine: making commits and reading them."""

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
            Locked: The branch kept moving.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def apply(self, prepared: Prepared) -> Commit | None:
        """Make a prepared commit the head of its branch in one compare-and-set.

        Returns:
            The commit; None where the branch moved, or was reset, since it was prepared.
        """
        raise NotImplementedError

    def get_commit(self, repository: str, ref: str) -> Commit:
        """Return the commit that a ref expression comes to.

        Raises:
            NotFound: There is none.
        """
        raise NotImplementedError

    def find_commit(self, repository: str, commit_id: str) -> Commit:
        """Return the commit with a full id or a unique prefix of one."""
        raise NotImplementedError

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
        raise NotImplementedError

    def merge_base(self, repository: str, source: str, destination: str) -> MergeBase:
        """Return the best common ancestor of two refs; its id is "" where there is none."""
        raise NotImplementedError

    def create_commit_record(self, repository: str, commit: Commit, *, force: bool = False) -> None:
        """Store a commit record as given, for restoring a dump.

        Raises:
            AlreadyExists: There is one of that id.
        """
        raise NotImplementedError
