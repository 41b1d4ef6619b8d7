"""What the versioned store and its HTTP layer say to each other: records, pages and errors.

The words are lakeFS's own. The engine raises these errors with the messages that lakeFS clients
know; the HTTP layer answers `error.status` with `{"message": error.message}`.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, Literal, TypeVar

import msgspec

from include.spec.errors import HeadraceError

T = TypeVar("T")

AddressType = Literal["relative", "full"]
ChangeType = Literal["added", "removed", "changed", "conflict", "prefix_changed"]
PathType = Literal["object", "common_prefix"]
DiffType = Literal["two_dot", "three_dot"]
ResetKind = Literal["all", "prefix", "path"]
BlockedAction = Literal["staging_write", "commit"]
RefKind = Literal["branch", "tag", "commit"]


class MergeStrategy(enum.StrEnum):
    """Who wins where both sides changed a path differently."""

    NONE = "default"
    SOURCE_WINS = "source-wins"
    DEST_WINS = "dest-wins"


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An object's record at one path; its bytes lie at `physical_address` in the blockstore.

    Two entries are the same object where size, checksum, user metadata and content type agree; the
    address and the time may differ (see `engine.ranges.identity`).

    Args:
        path: Key within the repository, UTF-8, 1 to 1024 bytes.
        physical_address: Where the bytes are: below the storage namespace or a full URI.
        address_type: Which of the two.
        checksum: ETag of the object, without quotes.
        size_bytes: Length of the object.
        mtime: Unix time in seconds when it was written.
        metadata: The user's own key-value pairs.
        content_type: MIME type as it was given.
    """

    path: str
    physical_address: str
    address_type: AddressType = "relative"
    checksum: str = ""
    size_bytes: int = 0
    mtime: int = 0
    metadata: Mapping[str, str] = {}
    content_type: str = "application/octet-stream"


class CommonPrefix(msgspec.Struct, frozen=True):
    """All paths that share `path` up to and with a delimiter, as one line of a listing."""

    path: str


class Repository(msgspec.Struct, frozen=True):
    """A repository; `creation_date` is unix time in seconds."""

    id: str
    storage_namespace: str
    default_branch: str
    creation_date: int
    read_only: bool = False


class Ref(msgspec.Struct, frozen=True):
    """A branch or tag and the commit it points to."""

    id: str
    commit_id: str


class Commit(msgspec.Struct, frozen=True):
    """A commit; its id is the hash of all the rest.

    Args:
        id: 64 hexadecimal characters.
        parents: Ids, first parent first: empty for the initial commit, two for a merge.
        committer: User who made it.
        message: May be empty only where the server allows it.
        creation_date: Unix time in seconds.
        meta_range_id: Id of the tree; "" for the empty tree.
        metadata: The user's own key-value pairs.
        generation: 1 + the largest generation among the parents; the initial commit has 1.
        version: Format of the record, 1.
        creation_nanosecond: Of the second, 0 to 999,999,999; orders a log, and is not part of the id.
    """

    id: str
    parents: tuple[str, ...]
    committer: str
    message: str
    creation_date: int
    meta_range_id: str
    metadata: Mapping[str, str] = {}
    generation: int = 1
    version: int = 1
    creation_nanosecond: int = 0


class Resolved(msgspec.Struct, frozen=True):
    """What a ref expression means.

    Args:
        kind: What the expression names; a commit after any `~` or `^`.
        commit_id: The commit it comes to.
        branch: Branch name, where the expression is a branch without `~`, `^`: else None.
        staged: Whether reads through it see uncommitted changes: a bare branch or `branch$`.
    """

    kind: RefKind
    commit_id: str
    branch: str | None = None
    staged: bool = False


class Change(msgspec.Struct, frozen=True):
    """One line of a diff.

    Args:
        type: What happened from left to right; `conflict` only in three-dot diffs, `prefix_changed`
            for every common prefix.
        path_type: `common_prefix` where a delimiter rolled several changes into one line.
        path: The path, or the prefix with its delimiter.
        size_bytes: Size of the changed object (of the removed one, if removed); None for a prefix.
        entry: The object on the right side; None if removed or a prefix.
    """

    type: ChangeType
    path_type: PathType
    path: str
    size_bytes: int | None = None
    entry: Entry | None = None


class MergeBase(msgspec.Struct, frozen=True):
    """The three commits of a merge."""

    source_commit_id: str
    destination_commit_id: str
    base_commit_id: str


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of a listing: pass `next_offset` as `after` for the next one.

    Args:
        results: In the listing's order.
        has_more: Whether another page follows.
        next_offset: Name of the last result if `has_more`, else "".
        max_per_page: The page size that was asked for.
    """

    results: Sequence[T]
    has_more: bool = False
    next_offset: str = ""
    max_per_page: int = 1000


class Document(msgspec.Struct, frozen=True):
    """A settings document of a repository; `checksum` changes with its body (ETag, If-Match)."""

    body: bytes
    checksum: str


class ProtectionRule(msgspec.Struct, frozen=True):
    """Branches matching the glob `pattern` refuse the blocked actions; merges always pass."""

    pattern: str
    blocked_actions: tuple[BlockedAction, ...] = ("staging_write", "commit")


class RetentionRules(msgspec.Struct, frozen=True):
    """How many days a commit's objects are kept once no branch head refers to them."""

    default_retention_days: int
    branches: Mapping[str, int] = {}


class Prepared(msgspec.Struct, frozen=True):
    """A commit that is built and stored but not yet the head of its branch.

    Hooks look at it between prepare and apply. Applying it is one compare-and-set.

    Args:
        repository: Repository id.
        branch: Branch that it would become the head of.
        commit: The record as it will be.
        expected_head: Head of the branch that it was built on.
        sealed: Staging tokens whose rows it includes, newest first, which applying it drops.
        source_ref: The merged, reverted or picked ref as given; "" for a plain commit.
        chunks: Bodies of new tree chunks by id, stored in the transaction that applies it.
    """

    repository: str
    branch: str
    commit: Commit
    expected_head: str
    sealed: tuple[int, ...] = ()
    source_ref: str = ""
    chunks: Mapping[bytes, bytes] = {}


class LakeError(HeadraceError):
    """An error of the lake server; `status` is the HTTP status that lakeFS answers for it."""

    status: ClassVar[int] = 500


class Invalid(LakeError):
    """A malformed name, path or argument."""

    status = 400


class InvalidRef(Invalid):
    """A ref expression that cannot be read, or that names a staging area where a commit is needed."""


class NoChanges(LakeError):
    """A commit, merge, revert or cherry-pick that would change nothing."""

    status = 400


class DirtyBranch(LakeError):
    """The destination branch has uncommitted changes."""

    status = 400


class Protected(LakeError):
    """A branch protection rule blocks the action, or it would delete the default branch."""

    status = 403


class ReadOnly(LakeError):
    """The repository is read-only and `force` was not given."""

    status = 403


class NotFound(LakeError):
    """No such repository, branch, tag, commit or object."""

    status = 404


class AlreadyExists(LakeError):
    """The name is taken."""

    status = 409


class Conflict(LakeError):
    """Both sides of a merge, revert or cherry-pick changed the same paths, or a name means two things.

    Nothing was changed.

    Args:
        paths: The first conflicting paths, in order.
    """

    status = 409

    def __init__(self, message: str, paths: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class Gone(LakeError):
    """The object's bytes were removed by garbage collection."""

    status = 410


class PreconditionFailed(LakeError):
    """If-Match or If-None-Match does not hold, or a hook refused."""

    status = 412


class TooManyTries(LakeError):
    """The branch moved under an operation too many times; safe to try again."""

    status = 429
