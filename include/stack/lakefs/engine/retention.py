"""What garbage collection needs to know: which addresses are alive, which have expired."""

from collections.abc import Iterable, Iterator

from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.model import RetentionRules


class Retention(Core):
    """Part of the engine: marking for garbage collection. It deletes nothing from the blockstore."""

    def get_retention_rules(self, repository: str) -> RetentionRules | None:
        """Return the repository's rules, None where none were set."""
        raise NotImplementedError

    def set_retention_rules(self, repository: str, rules: RetentionRules) -> None:
        """Replace the repository's rules."""
        raise NotImplementedError

    def delete_retention_rules(self, repository: str) -> None:
        """Remove the repository's rules: nothing expires any more."""
        raise NotImplementedError

    def referenced_addresses(self, repository: str) -> Iterator[str]:
        """Yield every address that any commit, staging area or issued upload refers to, once each."""
        raise NotImplementedError

    def expired_addresses(
        self, repository: str, rules: RetentionRules | None = None, *, now: int | None = None
    ) -> Iterator[str]:
        """Yield addresses that only expired commits refer to, in order.

        A commit is kept while it is a branch head or younger than the days of a branch that it lies
        on; uncommitted entries and issued uploads keep their addresses.

        Args:
            repository: Repository id.
            rules: In place of the repository's own.
            now: Unix time in seconds in place of now.
        """
        raise NotImplementedError

    def mark_gone(self, repository: str, addresses: Iterable[str]) -> None:
        """Record that the bytes at these addresses are deleted, so that reads answer 410."""
        raise NotImplementedError
