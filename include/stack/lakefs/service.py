"""What the route handlers work with: the store, the blockstore, hooks and background work."""

from collections.abc import Callable
from dataclasses import dataclass

from include.stack.lakefs.blockstore.local import LocalStore
from include.stack.lakefs.blockstore.s3 import S3Store
from include.stack.lakefs.blockstore.s3_streams import split
from include.stack.lakefs.blockstore.store import Addresses, Blockstore, MultipartStore, full_uri
from include.stack.lakefs.call import NotSupported
from include.stack.lakefs.engine import Engine
from include.stack.lakefs.hooks.journal import Journal
from include.stack.lakefs.hooks.runner import Event, Runner, commit_at
from include.stack.lakefs.imports import Imports
from include.stack.lakefs.model import Commit, Entry, Prepared, Repository
from include.stack.lakefs.options import Options
from include.stack.lakefs.security import Gatekeeper


@dataclass(frozen=True)
class Service:
    """The parts of a running server."""

    options: Options
    engine: Engine
    blockstore: Blockstore
    gatekeeper: Gatekeeper
    journal: Journal
    runner: Runner
    imports: Imports
    addresses: Addresses

    def close(self) -> None:
        """Finish what runs and close all files."""
        self.imports.close()
        self.runner.close()
        self.journal.close()
        self.engine.close()

    def multipart(self) -> MultipartStore:
        """The blockstore, where clients can upload parts by themselves.

        Raises:
            NotSupported: It cannot do that.
        """
        if not isinstance(self.blockstore, S3Store):
            raise NotSupported("presign multipart upload API is not supported")
        return self.blockstore

    def hooked(self, event: str, repository: str, branch: str) -> "Hooked":
        """The hooks around making one commit."""
        return Hooked(self, event, repository, branch)

    def around(self, event: Event, action: Callable[[], None]) -> None:
        """Do what the pre-hooks of an event admit, and tell its post-hooks.

        Args:
            event: Its type is without `pre-`, such as `create-branch`.
            action: What the event is.

        Raises:
            PreconditionFailed: A hook refused.
        """
        if not event.actions_ref:
            action()
            return
        self.runner.before(_typed(event, f"pre-{event.type}"))
        action()
        self.runner.after(_typed(event, f"post-{event.type}"))

    def commit_at(self, repository: str, ref: str) -> str:
        """The commit id that a ref comes to; "" where it comes to none."""
        return commit_at(self.engine, repository, ref)


def _typed(event: Event, kind: str) -> Event:
    return Event(
        kind,
        event.repository,
        event.branch,
        event.actions_ref,
        event.source_ref,
        event.commit,
        event.commit_id,
        event.tag,
    )


class Hooked:
    """Pre- and post-hooks around one commit of a branch.

    Args:
        service: The server's parts.
        event: `commit`, `merge`, `revert` or `cherry-pick`.
        repository: Repository id.
        branch: The branch that gets the commit.
    """

    def __init__(self, service: Service, event: str, repository: str, branch: str) -> None:
        self._service = service
        self._event = event
        self._repository = repository
        self._branch = branch
        self._run_id = ""

    def check(self, prepared: Prepared) -> None:
        """Run the pre-hooks; the engine calls it between prepare and apply."""
        source = actions_ref = self._branch
        if self._event == "merge":
            parents = prepared.commit.parents
            source = actions_ref = parents[1] if len(parents) > 1 else self._source(prepared)
        elif self._event != "commit":
            actions_ref = prepared.expected_head
        self._run_id = self._service.runner.before(
            Event(
                f"pre-{self._event}",
                self._repository,
                self._branch,
                actions_ref,
                source_ref=source,
                commit=prepared.commit,
            )
        )

    def _source(self, prepared: Prepared) -> str:
        return self._service.commit_at(self._repository, prepared.source_ref) or prepared.expected_head

    def made(self, commit: Commit) -> Commit:
        """Record the commit with its run and start the post-hooks; returns the commit."""
        self._service.runner.passed(self._repository, self._run_id, commit.id)
        self._service.runner.after(
            Event(
                f"post-{self._event}",
                self._repository,
                self._branch,
                commit.id,
                source_ref=commit.id,
                commit=commit,
                commit_id=commit.id,
            )
        )
        return commit


def uri_of(repository: Repository, entry: Entry) -> str:
    """The full address of an entry's bytes."""
    if entry.address_type == "full":
        return entry.physical_address
    return full_uri(repository.storage_namespace, entry.physical_address)


def open_service(options: Options) -> Service:
    """Open the store and the blockstore of a server."""
    blockstore: Blockstore
    if options.blockstore == "s3":
        bucket, _ = split(options.default_namespace, empty_key=True)
        blockstore = S3Store(options.s3, options.presign_expiry_s, bucket)
    else:
        blockstore = LocalStore(options.data_dir / "blocks")
    engine = Engine(options.data_dir)
    journal = Journal(options.data_dir / "actions.sqlite")
    return Service(
        options=options,
        engine=engine,
        blockstore=blockstore,
        gatekeeper=Gatekeeper(options),
        journal=journal,
        runner=Runner(engine, blockstore, journal, options.hook_variables_prefix),
        imports=Imports(engine, blockstore),
        addresses=Addresses(),
    )
