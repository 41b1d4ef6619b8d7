"""What can go wrong in an audit itself; a broken invariant is a result, not an error."""

from include.spec.errors import HeadraceError


class StoreUnreadable(HeadraceError):
    """A store did not answer, or answered what nobody can read: nothing can be said about the invariants."""
