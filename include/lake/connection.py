"""The lake: one repository of a server that speaks lakeFS."""

from include.settings import Settings
from include.spec.refs import CommitRef, DraftRef


class Lake:
    """One repository. `Lake.connect(settings())` checks endpoint, keys and repository and says what is wrong."""

    @classmethod
    def connect(cls, settings: Settings) -> "Lake":
        """Connect to the repository that the settings name."""
        raise NotImplementedError

    @classmethod
    def prepare(cls, settings: Settings) -> "Lake":
        """Connect, and make the repository, with main protected, where it does not exist yet."""
        raise NotImplementedError

    def head(self, branch: str = "main") -> CommitRef:
        """The commit that a branch points to now."""
        raise NotImplementedError

    def resolve(self, ref: str) -> CommitRef:
        """The commit that a branch, tag, commit id or expression such as `main~2` names."""
        raise NotImplementedError

    def uri(self, ref: CommitRef | DraftRef, path: str, *, scheme: str = "s3a") -> str:
        """Address of a path for engines that read through the S3 gateway: `s3a://<repository>/<commit>/<path>`."""
        raise NotImplementedError
