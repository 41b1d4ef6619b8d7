"""Imports: objects that lie in the blockstore already become entries of a branch, in one commit."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from include.stack.lakefs.blockstore.store import Blob, Blockstore
from include.stack.lakefs.engine import Engine
from include.stack.lakefs.model import AlreadyExists, Commit, Entry, Invalid, LakeError, NotFound, Prepared

KEPT_JOBS = 1000


class Canceled(LakeError):
    """The import was canceled."""


@dataclass(frozen=True)
class Source:
    """One source of an import.

    Args:
        kind: `common_prefix` or `object`.
        uri: Full address of the object, or what the addresses of the objects begin with.
        destination: Path of the object, or prefix of their paths, on the branch.
    """

    kind: str
    uri: str
    destination: str

    @property
    def prefix(self) -> str:
        """What the import replaces on the branch."""
        if self.kind == "object" or not self.destination or self.destination.endswith("/"):
            return self.destination
        return self.destination + "/"


@dataclass(frozen=True)
class Request:
    """What is to be imported where.

    Args:
        repository: Repository id.
        branch: Branch name.
        sources: What to import.
        committer: Name of the user.
        message: Commit message; "" for the default.
        metadata: The user's key-value pairs.
        force: Write to a read-only repository.
    """

    repository: str
    branch: str
    sources: Sequence[Source]
    committer: str
    message: str
    metadata: Mapping[str, str]
    force: bool


@dataclass
class Job:
    """An import, as its status is told."""

    id: str
    repository: str
    branch: str
    completed: bool = False
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ingested: int = 0
    commit: Commit | None = None
    error: str = ""
    canceled: threading.Event = field(default_factory=threading.Event)

    def touch(self) -> None:
        """Note that there was progress."""
        self.updated_at = datetime.now(UTC)


class Imports:
    """Runs imports in the background, two at a time, and remembers the last thousand.

    Args:
        engine: The store.
        blockstore: Where the objects lie.
    """

    def __init__(self, engine: Engine, blockstore: Blockstore) -> None:
        self._engine = engine
        self._blockstore = blockstore
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="import")
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Cancel all imports and wait for them to stop."""
        for job in list(self._jobs.values()):
            job.canceled.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(
        self,
        request: Request,
        check: Callable[[Prepared], None],
        made: Callable[[Commit], Commit],
    ) -> Job:
        """Begin an import.

        Args:
            request: What to import where.
            check: Runs before the branch moves; may refuse.
            made: Is told of the commit.

        Raises:
            NotFound: No such repository or branch.
            Invalid: An unknown kind of source, or an address that is not of this blockstore.
        """
        for source in request.sources:
            if source.kind not in ("common_prefix", "object"):
                raise Invalid(f"invalid import type: {source.kind}: it is common_prefix or object")
            if source.kind == "object" and not source.destination:
                raise Invalid(f"import of object {source.uri} needs a destination")
            self._blockstore.check_uri(
                source.uri.rstrip("/") + "/_" if source.kind != "object" else source.uri
            )
        self._engine.get_branch(request.repository, request.branch)
        job = Job(secrets.token_hex(10), request.repository, request.branch)
        with self._lock:
            self._jobs[job.id] = job
            while len(self._jobs) > KEPT_JOBS:
                self._jobs.popitem(last=False)
        self._pool.submit(self._run, job, request, check, made)
        return job

    def status(self, repository: str, job_id: str) -> Job:
        """The state of an import.

        Raises:
            NotFound: There is none of that id; imports are forgotten when the server stops.
        """
        job = self._jobs.get(job_id)
        if job is None or job.repository != repository:
            raise NotFound(f"import id {job_id}: not found")
        return job

    def cancel(self, repository: str, job_id: str) -> None:
        """Stop an import; nothing of it is left.

        Raises:
            NotFound: There is none of that id.
            AlreadyExists: It is over (409).
        """
        job = self.status(repository, job_id)
        if job.completed or job.error:
            raise AlreadyExists("import already completed")
        job.canceled.set()

    def _run(
        self,
        job: Job,
        request: Request,
        check: Callable[[Prepared], None],
        made: Callable[[Commit], Commit],
    ) -> None:
        def admit(prepared: Prepared) -> None:
            check(prepared)
            if job.canceled.is_set():
                raise Canceled("import canceled")

        try:
            commit = self._engine.import_entries(
                request.repository,
                request.branch,
                self._entries(job, request.sources),
                [source.prefix for source in request.sources],
                request.committer,
                request.message,
                request.metadata,
                force=request.force,
                check=admit,
            )
            job.commit = made(commit)
            job.completed = True
        except LakeError as error:
            job.error = error.message
        except Exception as error:
            # The job runs unattended: whatever went wrong must reach whoever polls its status.
            job.error = f"internal error: {type(error).__name__}"
            raise
        finally:
            job.touch()

    def _entries(self, job: Job, sources: Sequence[Source]) -> Iterator[Entry]:
        for source in sources:
            if source.kind == "object":
                yield _entry(source.destination, self._blockstore.stat(source.uri))
                job.ingested += 1
                continue
            for blob in self._blockstore.walk(source.uri):
                if job.canceled.is_set():
                    raise Canceled("import canceled")
                if not blob.key or (blob.key.endswith("/") and blob.size_bytes == 0):
                    continue
                yield _entry(source.prefix + blob.key, blob)
                job.ingested += 1
                job.touch()


def _entry(path: str, blob: Blob) -> Entry:
    return Entry(
        path=path,
        physical_address=blob.uri,
        address_type="full",
        checksum=blob.checksum,
        size_bytes=blob.size_bytes,
        mtime=blob.mtime,
    )
