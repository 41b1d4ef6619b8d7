"""Bodies of requests, as lakeFS clients send them; unknown fields are passed over."""

from typing import Annotated

import msgspec

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What the API calls an integer; JSON itself has no bounds."""

UnixTime = Annotated[int, msgspec.Meta(ge=-62_135_596_800, le=253_402_300_799)]
"""Seconds that a date of the years 1 to 9999 comes to."""


class RepositoryCreation(msgspec.Struct):
    """POST /repositories."""

    name: str
    storage_namespace: str
    default_branch: str | None = None
    sample_data: bool | None = False
    read_only: bool | None = False
    storage_id: str | None = None


class MetadataSet(msgspec.Struct):
    """POST /repositories/{repository}/metadata."""

    metadata: dict[str, str]


class MetadataKeys(msgspec.Struct):
    """DELETE /repositories/{repository}/metadata."""

    keys: list[str]


class ProtectionPattern(msgspec.Struct):
    """One branch protection rule."""

    pattern: str


class BranchRetention(msgspec.Struct):
    """Retention of one branch."""

    branch_id: str
    retention_days: Int64


class RetentionBody(msgspec.Struct):
    """Garbage collection rules."""

    default_retention_days: Int64
    branches: list[BranchRetention]


class BranchCreation(msgspec.Struct):
    """POST /repositories/{repository}/branches."""

    name: str
    source: str
    force: bool | None = False
    hidden: bool | None = False


class TagCreation(msgspec.Struct):
    """POST /repositories/{repository}/tags."""

    id: str
    ref: str
    force: bool | None = False


class ResetCreation(msgspec.Struct):
    """PUT /repositories/{repository}/branches/{branch}."""

    type: str
    path: str | None = None
    force: bool | None = False


class CommitCreation(msgspec.Struct):
    """POST /repositories/{repository}/branches/{branch}/commits; also the commit of an import."""

    message: str
    metadata: dict[str, str] | None = None
    date: UnixTime | None = None
    allow_empty: bool | None = False
    force: bool | None = False


class CommitRecord(msgspec.Struct):
    """POST /repositories/{repository}/commits."""

    commit_id: str
    version: Int64
    committer: str
    message: str
    metarange_id: str
    creation_date: UnixTime
    parents: list[str]
    generation: Int64
    metadata: dict[str, str] | None = None
    force: bool | None = False


class MergeBody(msgspec.Struct):
    """POST /repositories/{repository}/refs/{source}/merge/{destination}."""

    message: str | None = None
    metadata: dict[str, str] | None = None
    strategy: str | None = None
    force: bool | None = False
    allow_empty: bool | None = False
    squash_merge: bool | None = False


class CommitOverrides(msgspec.Struct):
    """What replaces the default message and metadata of a revert or cherry-pick."""

    message: str | None = None
    metadata: dict[str, str] | None = None


class RevertCreation(msgspec.Struct):
    """POST /repositories/{repository}/branches/{branch}/revert."""

    ref: str
    parent_number: Int64
    commit_overrides: CommitOverrides | None = None
    force: bool | None = False
    allow_empty: bool | None = False


class CherryPickCreation(msgspec.Struct):
    """POST /repositories/{repository}/branches/{branch}/cherry-pick."""

    ref: str
    parent_number: Int64 | None = None
    commit_overrides: CommitOverrides | None = None
    force: bool | None = False


class PathList(msgspec.Struct):
    """POST /repositories/{repository}/branches/{branch}/objects/delete."""

    paths: list[str]


class ObjectCopyCreation(msgspec.Struct):
    """POST /repositories/{repository}/branches/{branch}/objects/copy."""

    src_path: str
    src_ref: str | None = None
    force: bool | None = False
    shallow: bool | None = False


class ObjectStageCreation(msgspec.Struct):
    """PUT /repositories/{repository}/branches/{branch}/objects."""

    physical_address: str
    checksum: str
    size_bytes: Int64
    mtime: UnixTime | None = None
    metadata: dict[str, str] | None = None
    content_type: str | None = None
    force: bool | None = False


class UserMetadata(msgspec.Struct):
    """PUT /repositories/{repository}/branches/{branch}/objects/stat/user_metadata."""

    set: dict[str, str]


class StagingLocation(msgspec.Struct):
    """Where a client was told to put an object."""

    physical_address: str | None = None
    presigned_url: str | None = None


class StagingMetadata(msgspec.Struct):
    """PUT /repositories/{repository}/branches/{branch}/staging/backing."""

    staging: StagingLocation
    checksum: str
    size_bytes: Int64
    user_metadata: dict[str, str] | None = None
    content_type: str | None = None
    mtime: UnixTime | None = None
    force: bool | None = False


class UploadAddress(msgspec.Struct):
    """Body of the multipart operations that name the address alone."""

    physical_address: str


class UploadedPart(msgspec.Struct):
    """A part that a client has uploaded."""

    part_number: Int64
    etag: str


class MultipartCompletion(msgspec.Struct):
    """PUT /repositories/{repository}/branches/{branch}/staging/pmpu/{uploadId}."""

    physical_address: str
    parts: list[UploadedPart]
    user_metadata: dict[str, str] | None = None
    content_type: str | None = None


class PartSource(msgspec.Struct):
    """The object, or range of one, that a part is copied from."""

    repository: str
    ref: str
    path: str
    range: str | None = None


class PartCopy(msgspec.Struct):
    """PUT .../staging/pmpu/{uploadId}/parts/{partNumber}/copy."""

    physical_address: str
    copy_source: PartSource


class ImportLocation(msgspec.Struct):
    """One source of an import."""

    type: str
    path: str
    destination: str


class ImportCreation(msgspec.Struct):
    """POST /repositories/{repository}/branches/{branch}/import."""

    paths: list[ImportLocation]
    commit: CommitCreation
    force: bool | None = False


class Login(msgspec.Struct):
    """POST /auth/login."""

    access_key_id: str
    secret_access_key: str


class StatisticsEvent(msgspec.Struct):
    """One line of POST /statistics."""

    name: str
    count: Int64
    kind: str = msgspec.field(name="class")


class Statistics(msgspec.Struct):
    """POST /statistics."""

    events: list[StatisticsEvent]


class UncommittedMark(msgspec.Struct):
    """POST /repositories/{repository}/gc/prepare_uncommited."""

    continuation_token: str | None = None


class ObjectStats(msgspec.Struct, omit_defaults=True):
    """An object, or a common prefix, in answers."""

    path: str
    path_type: str
    physical_address: str | None = None
    checksum: str | None = None
    mtime: int | None = None
    size_bytes: int | None = None
    metadata: dict[str, str] | None = None
    content_type: str | None = None
    physical_address_expiry: int | None = None
