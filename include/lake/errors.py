"""What can go wrong with the lake, each with its remedy."""

from include.spec.errors import HeadraceError


class LakeError(HeadraceError):
    """The root of this room's errors."""


class Unreachable(LakeError):
    """Nothing answers at an endpoint, or not in time."""


class NotALake(LakeError):
    """Something answers at the endpoint, but it does not speak the lakeFS protocol."""


class ServerRefused(LakeError):
    """The server answered a request with an error that is not a matter of waiting.

    Args:
        status: The HTTP status.
        message: What the server said.
    """

    def __init__(self, message: str, *, status: int, remedy: str = "", **ids: object) -> None:
        super().__init__(message, remedy=remedy, **ids)
        self.status = status


class Busy(ServerRefused):
    """The server kept answering 429 or 5xx until the deadline."""


class WrongKeys(ServerRefused):
    """The server does not know the access keys."""


class Forbidden(ServerRefused):
    """The keys are known but may not do this, or the branch is protected."""


class NotFound(ServerRefused):
    """What the request names does not exist (404), or no longer does (410)."""


class UnknownRepository(LakeError):
    """The server has no such repository."""


class UnknownRef(LakeError):
    """The repository has no such branch, tag or commit."""


class UnknownPath(LakeError):
    """Nothing lies under this path at this ref."""


class UnknownTable(LakeError):
    """No table lies under this path at this ref."""


class BadPath(LakeError, ValueError):
    """A path that the lake or a local folder must not hold."""


class MergeConflict(LakeError):
    """Main changed the same paths meanwhile; nothing was merged.

    Args:
        paths: The paths in conflict, sorted.
    """

    def __init__(self, message: str, *, paths: tuple[str, ...], remedy: str = "", **ids: object) -> None:
        super().__init__(message, remedy=remedy, **ids)
        self.paths = paths


class HookRefused(ServerRefused):
    """A pre-commit or pre-merge hook of the server said no (412)."""


class GateNotPassed(LakeError):
    """A draft was to be published without a verdict that passed."""


class DraftGone(LakeError):
    """The branch of a draft does not exist or is not in the state that the step needs."""


class CorruptObject(LakeError):
    """Bytes that do not match the size or checksum that the lake records for them."""


class CorruptParquet(LakeError):
    """A file named .parquet that cannot be read as Parquet."""


class UploadFailed(LakeError):
    """The object store did not take what was sent."""


class DiskFull(LakeError):
    """The local disk has no room for a checkout; nothing half-written is left."""


class CacheFull(LakeError):
    """The cache is bounded, and live checkouts use so much of it that there is no room."""


class BadWatermark(LakeError, ValueError):
    """A watermark document that does not say what it must."""


class BadInventory(LakeError, ValueError):
    """A list of the tables that somebody makes, which does not say what it must."""


class CollectionNotOffered(LakeError):
    """The lake server does not collect garbage by itself: it is not the embedded one."""
