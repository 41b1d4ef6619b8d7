"""Repositories, their user metadata and their settings documents."""

from collections.abc import Mapping

from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.model import Document, Page, ProtectionRule, Repository


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
        raise NotImplementedError

    def get_repository(self, repository: str) -> Repository:
        """Return the repository.

        Raises:
            NotFound: There is none of that id.
        """
        raise NotImplementedError

    def list_repositories(
        self, *, prefix: str = "", search: str = "", after: str = "", amount: int = 1000
    ) -> Page[Repository]:
        """List repositories by id; `search` keeps ids that contain it."""
        raise NotImplementedError

    def delete_repository(self, repository: str, *, force: bool = False) -> None:
        """Delete the repository with everything in it; objects in the blockstore stay."""
        raise NotImplementedError

    def get_metadata(self, repository: str) -> dict[str, str]:
        """Return the repository's user metadata."""
        raise NotImplementedError

    def set_metadata(self, repository: str, values: Mapping[str, str]) -> None:
        """Set the given keys of the repository's user metadata; other keys stay."""
        raise NotImplementedError

    def delete_metadata(self, repository: str, keys: list[str]) -> None:
        """Delete the given keys of the repository's user metadata; absent ones are passed over."""
        raise NotImplementedError

    def get_document(self, repository: str, name: str) -> Document | None:
        """Return a settings document (branch protection, gc rules, ...), None if never set."""
        raise NotImplementedError

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
        raise NotImplementedError

    def delete_document(self, repository: str, name: str) -> bool:
        """Delete a settings document; returns whether there was one."""
        raise NotImplementedError

    def get_protection_rules(self, repository: str) -> tuple[list[ProtectionRule], str]:
        """Return the branch protection rules and their checksum ("" where none were ever set)."""
        raise NotImplementedError

    def set_protection_rules(
        self, repository: str, rules: list[ProtectionRule], *, if_match: str | None = None
    ) -> str:
        """Replace the branch protection rules; returns the new checksum.

        Raises:
            PreconditionFailed: `if_match` (see `set_document`) does not hold.
        """
        raise NotImplementedError
