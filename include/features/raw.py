"""The raw tables that the dbt project reads, and only those, from the lake to one folder."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from include.features.project import PROJECT, read_tables
from include.lake import Lake, checkout
from include.spec.refs import CommitRef, DraftRef


@contextmanager
def raw_checkout(
    lake: Lake, at: CommitRef | DraftRef, source: str, *, project: Path = PROJECT
) -> Iterator[Path]:
    """A folder that mirrors the lake's paths and holds the tables of a source that features are made of.

    A source may hold tables of any size that no feature uses; they stay where they are.

    Args:
        lake: Where.
        at: A commit, or a draft as it is now.
        source: Name of the source.
        project: The dbt project.

    Raises:
        FeatureProjectError: The project reads nothing of that source.
        UnknownPath: The commit does not hold a table.
    """
    with ExitStack() as held, TemporaryDirectory() as root:
        for table in read_tables(source, project):
            files = held.enter_context(checkout(lake, at, f"raw/{source}/{table}/snapshot"))
            link = Path(root) / "raw" / source / table
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(files.path(f"raw/{source}/{table}"), target_is_directory=True)
        yield Path(root)
