"""The lake: one repository of a server that speaks lakeFS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import lakefs
import lakefs_sdk
import urllib3
from lakefs_sdk.exceptions import ApiException

from include.lake import paths
from include.lake.errors import (
    Busy,
    NotALake,
    NotFound,
    ServerRefused,
    UnknownRef,
    UnknownRepository,
    Unreachable,
)
from include.lake.patience import Patience, TransientAnswer
from include.lake.replies import BoundedRest, meaning, says_why
from include.lake.wire import Wire
from include.settings import Settings
from include.spec.refs import CommitRef, DraftRef

MAIN = "main"
PAGE = 1000
CONNECTIONS = 32
CONNECT_PATIENCE = Patience(deadline_s=15.0, read_timeout_s=15.0)

MODELS: Any = lakefs_sdk  # its models are built by pydantic 1, which a type checker cannot follow

T = TypeVar("T")


class Lake:
    """One repository; safe to share between threads.

    Args:
        settings: Endpoint, keys, repository, cache folder and its bound.
        patience: How long a request may wait for a server that is away.
        pre_sign: Whether the server gives pre-signed URLs of the object store.
        pre_sign_multipart: Whether it does for the parts of large uploads too.
        server_version: As the server reports it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patience: Patience | None = None,
        pre_sign: bool = False,
        pre_sign_multipart: bool = False,
        server_version: str = "",
    ) -> None:
        self.repository = settings.lake_repository
        self.endpoint = settings.lakefs_endpoint
        self.cache_folder: Path = settings.cache_folder
        self.cache_size_bytes = settings.cache_size_bytes
        self.patience = patience or Patience()
        self.pre_sign = pre_sign
        self.pre_sign_multipart = pre_sign_multipart
        self.server_version = server_version
        self.api = _api(settings, self.patience)
        self.wire = Wire(self.api.config_api.api_client.configuration, self.patience)

    @classmethod
    def connect(cls, settings: Settings, *, patience: Patience | None = None) -> "Lake":
        """Connect to the repository that the settings name, having asked the server for it.

        Raises:
            Unreachable: Nothing answers at the endpoint.
            NotALake: Something else than a lakeFS server answers.
            WrongKeys: The server does not know the keys.
            UnknownRepository: The server has no such repository.
        """
        lake = cls._greet(settings, patience)
        try:
            lake.call(lambda: lake.api.repositories_api.get_repository(lake.repository))
        except NotFound as error:
            raise UnknownRepository(
                "the lake server has no such repository",
                remedy="Set HEADRACE_LAKE_REPOSITORY, or make it with `headrace lake init`.",
                repository=lake.repository,
                endpoint=lake.endpoint,
            ) from error
        return lake

    @classmethod
    def prepare(cls, settings: Settings, *, patience: Patience | None = None) -> "Lake":
        """Connect, and make the repository where it does not exist; main is protected in either case.

        Raises:
            ServerRefused: The server does not accept the storage namespace, or the keys may not.
        """
        lake = cls._greet(settings, patience)
        repository = MODELS.RepositoryCreation(
            name=lake.repository, storage_namespace=settings.lake_storage_namespace, default_branch=MAIN
        )
        try:
            lake.call(lambda: lake.api.repositories_api.get_repository(lake.repository))
        except NotFound:
            lake.call(lambda: lake.api.repositories_api.create_repository(repository), done_at=(409,))
        rules = [MODELS.BranchProtectionRule(pattern=MAIN)]
        lake.call(lambda: lake.api.repositories_api.set_branch_protection_rules(lake.repository, rules))
        return lake

    @classmethod
    def _greet(cls, settings: Settings, patience: Patience | None) -> "Lake":
        greeting = cls(settings, patience=patience or CONNECT_PATIENCE)
        try:
            # Not through lakefs.Client.storage_config: it keeps what it learns in a dict of the class,
            # shared by all servers of the process, and calls every failure "not authorized".
            config = greeting.call(lambda: greeting.api.config_api.get_config())
        except (ServerRefused, ValueError) as error:
            if isinstance(error, ServerRefused) and says_why(error.__cause__):
                raise
            raise NotALake(
                "what answers at the endpoint does not speak the lakeFS protocol",
                remedy="Set HEADRACE_LAKEFS_ENDPOINT to the lake server, such as http://127.0.0.1:8000.",
                endpoint=settings.lakefs_endpoint,
            ) from error
        storage = config.storage_config
        return cls(
            settings,
            patience=patience,
            pre_sign=bool(storage and storage.pre_sign_support),
            pre_sign_multipart=bool(storage and storage.pre_sign_multipart_upload),
            server_version=(config.version_config and config.version_config.version) or "",
        )

    def call(
        self,
        request: Callable[[], T],
        *,
        done_at: tuple[int, ...] = (),
        check: Callable[[], T | None] | None = None,
    ) -> T:
        """Send a request, and again while the server is away or overloaded, until the deadline.

        Args:
            request: One call of `self.api`; all of them have a timeout.
            done_at: Statuses that mean that the work is done already (an existing branch, a deleted tag).
            check: For a request that must not happen twice: asked before every further try whether the one
                before arrived after all (its answer was lost); what it returns, unless None, is the result.

        Raises:
            LakeError: What the server's answer, or its absence, means.
        """
        first = True

        def one_try() -> T:
            nonlocal first
            if not first and check is not None and (result := check()) is not None:
                return result
            first = False
            return request()

        try:
            return self.patience.tries()(one_try)
        except ApiException as error:
            if error.status in done_at:
                return None  # type: ignore[return-value]
            raise meaning(error, self.endpoint) from error
        except TransientAnswer as error:
            remedy = "`headrace status` shows which server is away; its log: `headrace logs NAME`."
            if error.status == 0:
                raise Unreachable(str(error), remedy=remedy) from error
            raise Busy(str(error), status=error.status, remedy=remedy) from error
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            raise Unreachable(
                f"the lake server does not answer ({type(cause).__name__})",
                remedy="Is it running (`headrace status`), and is HEADRACE_LAKEFS_ENDPOINT right?",
                endpoint=self.endpoint,
            ) from error

    def pages(self, listing: Callable[..., Any], *names: str, **options: Any) -> Iterator[Any]:
        """All results of a paged listing of the repository, each page with the patience of `call`."""
        after = options.pop("after", "")
        while True:
            page = self.call(
                lambda after=after: listing(  # type: ignore[misc]
                    self.repository, *names, after=after, amount=PAGE, **options
                )
            )
            yield from page.results
            if not page.pagination.has_more:
                return
            after = page.pagination.next_offset

    def head(self, branch: str = MAIN) -> CommitRef:
        """The commit that a branch points to now.

        Raises:
            UnknownRef: There is no such branch.
        """
        try:
            found = self.call(lambda: self.api.branches_api.get_branch(self.repository, branch))
        except NotFound as error:
            raise self.unknown_ref(branch) from error
        return CommitRef(self.repository, found.commit_id)

    def resolve(self, ref: str) -> CommitRef:
        """The commit that a branch, tag, commit id or expression such as `main~2` names.

        Raises:
            UnknownRef: It names none.
        """
        return CommitRef(self.repository, self.commit(ref).id)

    def commit(self, ref: str) -> Any:
        """The commit of a ref as the SDK gives it: id, parents, message, creation_date, metadata.

        Raises:
            UnknownRef: The ref names none.
        """
        try:
            return self.call(lambda: self.api.commits_api.get_commit(self.repository, ref))
        except NotFound as error:
            raise self.unknown_ref(ref) from error

    def unknown_ref(self, ref: str) -> UnknownRef:
        """The error for a ref that names nothing."""
        return UnknownRef(
            "the lake has no such branch, tag or commit",
            remedy="`headrace lake log` lists the commits of main.",
            ref=ref,
            repository=self.repository,
        )

    def uri(self, ref: CommitRef | DraftRef, path: str, *, scheme: str = "s3a") -> str:
        """Address of a path for engines behind the S3 gateway: `s3a://<repository>/<commit>/<path>`.

        Raises:
            BadPath: The path is not one of the lake's.
        """
        folder = path.removesuffix("/")
        return f"{scheme}://{ref.repository}/{ref_name(ref)}/{paths.confined(folder) if folder else ''}"


def ref_name(ref: CommitRef | DraftRef) -> str:
    """What the server reads by: a commit id, or the branch of a draft (staged objects included)."""
    return ref.commit if isinstance(ref, CommitRef) else ref.branch


def _api(settings: Settings, patience: Patience) -> Any:
    client: Any = lakefs.Client(  # type: ignore[no-untyped-call]
        host=settings.lakefs_endpoint,
        username=settings.lakefs_access_key_id,
        password=settings.lakefs_secret_access_key.get_secret_value(),
    )
    client.config.connection_pool_maxsize = CONNECTIONS
    # One connect try per try of ours: the SDK's own retries know no deadline.
    client.config.retries = urllib3.Retry(total=None, connect=0, read=0, redirect=3, status=0, other=0)
    api = client.sdk_client
    api.config_api.api_client.rest_client = BoundedRest(client.config, patience.timeouts)
    return api
