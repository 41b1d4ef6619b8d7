"""What can go wrong with a release; each message names product and version and the remedy."""

from include.spec.errors import HeadraceError


class ReleaseError(HeadraceError):
    """A release could not be made or read."""


class TamperedManifest(ReleaseError):
    """A manifest is not what was signed; nothing that it says may be believed."""
