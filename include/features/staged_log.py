"""Where staged tables lie in the lake, and what their building takes from there."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from include.features.spark_jobs.build import SPECIAL, VALIDITY
from include.features.spark_jobs.change_files import ChangeFile, read_change_file
from include.features.spark_jobs.progress import FILE, Progress, parse_progress
from include.features.spark_jobs.shapes import Period
from include.lake import Lake, checkout
from include.lake.checkout import FETCH_THREADS
from include.lake.integrity import known_sha256
from include.lake.objects import ObjectStat, list_objects, read_bytes, stat_or_none
from include.spec.refs import CommitRef

HISTORY = "__history"


def current_prefix(source: str, table: str) -> str:
    """Lake path of the current state of a table."""
    return f"staged/{source}/{table}"


def history_prefix(source: str, table: str) -> str:
    """Lake path of the history of a table."""
    return f"staged/{source}/{table}{HISTORY}"


def current_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Columns of a current state, from those of the table."""
    return (*columns, SPECIAL)


def history_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Columns of a history, from those that the table has or had."""
    return (*columns, *VALIDITY, SPECIAL)


class StagedLog:
    """What a table's building takes from the lake.

    Args:
        lake: Where.
        at: The commit to read.
        source: Name of the source.
        table: Name of the table.
        held: Keeps checkouts until the building ends.
    """

    def __init__(self, lake: Lake, at: CommitRef, source: str, table: str, held: ExitStack) -> None:
        self.lake, self.at, self.held = lake, at, held
        self.changes = f"raw/{source}/{table}/changes"
        self.current = current_prefix(source, table)
        self.history = history_prefix(source, table)
        self.local: dict[str, Path] = {}

    def _contents(self) -> dict[str, ObjectStat]:
        """The files of the change log, each content once, by a hash of it, in order of their names."""
        found: dict[str, ObjectStat] = {}
        for stat in list_objects(self.lake, self.at, self.changes):
            if stat.path.endswith(".parquet"):
                found.setdefault(known_sha256(stat.metadata) or stat.checksum, stat)
        return found

    def progress(self) -> Progress | None:
        """What the tables hold."""
        path = f"{self.history}/{FILE}"
        if stat_or_none(self.lake, self.at, path) is None:
            return None
        return parse_progress(read_bytes(self.lake, self.at, path))

    def files(self, before: Progress | None) -> tuple[ChangeFile, ...]:
        """The change log in its order, each content once: known files as they are known, others by footers.

        Names do not tell it: a late file lies behind others of its span, which may be of a later shape.

        Raises:
            StagingError: A file is none of changes.
        """
        log = self._contents()
        known = {file.content: file for file in before.files} if before is not None else {}
        unknown = [stat.path for content, stat in log.items() if content not in known]
        self.fetch(unknown, whole=not known)
        files = []
        for content, stat in log.items():
            if (file := known.get(content)) is None:
                file = read_change_file(self.local[stat.path], stat.path, content)
            if file is not None:
                files.append(ChangeFile(stat.path, content, file.first, file.last, file.shape))
        return tuple(sorted(files, key=lambda file: (file.first, file.name)))

    def fetch(self, paths: Sequence[str], *, whole: bool) -> None:
        """Make files of the change log local; `whole` asks once for all of it."""
        absent = [path for path in paths if path not in self.local]
        if whole and absent:
            folder = self.held.enter_context(checkout(self.lake, self.at, self.changes))
            self.local |= {path: folder.path(path) for path in absent}
            return
        self.local |= dict(zip(absent, self.objects(absent), strict=True))

    def paths(self, files: Sequence[tuple[Period, Sequence[str]]]) -> list[tuple[Period, list[str]]]:
        """The same with the local files."""
        return [(period, [str(self.local[name]) for name in names]) for period, names in files]

    def object(self, path: str) -> Path:
        """One object as a local file."""
        return self.held.enter_context(checkout(self.lake, self.at, path)).path(path)

    def objects(self, paths: Sequence[str]) -> list[Path]:
        """Some objects as local files; several at a time, since each is a question of its own to the lake."""
        with ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="staged") as threads:
            return list(threads.map(self.object, paths))
