"""Branches, tags and ref expressions."""

from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.model import Page, Ref, Resolved


class Refs(Core):
    """Part of the engine: names for commits."""

    def resolve(self, repository: str, expression: str) -> Resolved:
        """Resolve a ref expression: a branch, tag or (prefix of a) commit id, then `~N ^N @ $`.

        `@` is the branch's last commit without its uncommitted changes, `$` its staging area; both
        only on a branch and only as the last modifier.

        Raises:
            NotFound: Nothing has that name, or the chain leaves the history.
            InvalidRef: The expression cannot be read.
        """
        raise NotImplementedError

    def create_branch(
        self, repository: str, name: str, source: str, *, force: bool = False, hidden: bool = False
    ) -> Ref:
        """Create a branch at the commit that `source` resolves to (uncommitted changes stay behind).

        Raises:
            AlreadyExists: The name is taken by a branch.
            Invalid: The name is bad, or would be read as a tag or commit id.
            NotFound: `source` does not exist.
        """
        raise NotImplementedError

    def get_branch(self, repository: str, name: str) -> Ref:
        """Return the branch.

        Raises:
            NotFound: `branch not found`.
        """
        raise NotImplementedError

    def list_branches(
        self,
        repository: str,
        *,
        prefix: str = "",
        search: str = "",
        after: str = "",
        amount: int = 1000,
        show_hidden: bool = False,
    ) -> Page[Ref]:
        """List branches by name; hidden ones only on request."""
        raise NotImplementedError

    def delete_branch(self, repository: str, name: str, *, force: bool = False) -> None:
        """Delete the branch and its uncommitted changes.

        Raises:
            Invalid: It is the default branch.
            NotFound: `branch not found`.
            Protected: A rule blocks deleting it.
        """
        raise NotImplementedError

    def set_branch(self, repository: str, name: str, target: str, *, force: bool = False) -> Ref:
        """Move the branch to the commit that `target` resolves to: a hard reset.

        Raises:
            DirtyBranch: It has uncommitted changes.
            NotFound: Branch or target do not exist.
            Protected: A rule blocks commits on it.
        """
        raise NotImplementedError

    def create_tag(self, repository: str, name: str, target: str, *, force: bool = False) -> Ref:
        """Create a tag at the commit that `target` resolves to; tags never move.

        Raises:
            AlreadyExists: The tag exists.
            Invalid: The name is bad.
            InvalidRef: `target` is a staging area.
        """
        raise NotImplementedError

    def get_tag(self, repository: str, name: str) -> Ref:
        """Return the tag.

        Raises:
            NotFound: `tag not found`.
        """
        raise NotImplementedError

    def list_tags(
        self, repository: str, *, prefix: str = "", search: str = "", after: str = "", amount: int = 1000
    ) -> Page[Ref]:
        """List tags by name."""
        raise NotImplementedError

    def delete_tag(self, repository: str, name: str, *, force: bool = False) -> None:
        """Delete the tag.

        Raises:
            NotFound: `tag not found`.
        """
        raise NotImplementedError
