"""Merge, revert, cherry-pick and import: commits made from other trees."""

from collections.abc import Iterable, Mapping, Sequence

from include.stack.lakefs.engine.commits import Check
from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.model import Commit, Entry, MergeStrategy


class Merges(Core):
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
            Locked: The branch kept moving.
        """
        raise NotImplementedError

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
            NoChanges, DirtyBranch, NotFound, Locked: As for merge.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def import_entries(
        self,
        repository: str,
        branch: str,
        entries: Iterable[Entry],
        prefixes: Sequence[str],
        committer: str,
        message: str = "",
        metadata: Mapping[str, str] | None = None,
        *,
        force: bool = False,
        check: Check | None = None,
    ) -> Commit:
        """Replace everything under the prefixes with the entries, in one commit.

        Args:
            repository: Repository id.
            branch: Branch name.
            entries: In any order; the last of equal paths counts. Streamed.
            prefixes: What is replaced: destinations of the import; an object's own path counts as one.
            committer: Name of the user.
            message: Default: `Import objects`.
            metadata: The user's key-value pairs.
            force: Write to a read-only repository.
            check: Runs between prepare and apply.

        Raises:
            NoChanges, DirtyBranch, NotFound, Protected, Locked: As for commit and merge.
        """
        raise NotImplementedError

    def write_metarange(self, repository: str, entries: Iterable[Entry]) -> str:
        """Store a tree of the entries and return its id, for `commit(source_metarange=...)`."""
        raise NotImplementedError
