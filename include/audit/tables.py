"""Tables of the lake as downloaded Parquet files, asked by SQL."""
# ruff: noqa: S608  # names and paths are quoted

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from include.audit.errors import StoreUnreadable
from include.audit.lake_reader import LakeReader

if TYPE_CHECKING:
    import duckdb

DATA = ".parquet"
FOLDER = re.compile(
    r"((?:raw|staged|quarantine|training_sets)/[^/]+/[^/]+|features/[^/_][^/]*|predictions/[^/]+)/"
)
# Changes of a log that are held, each by itself; `include.audit.held` counts them.
HELD = re.compile(r"(quarantine/[^/]+/[^/]+)/held/[^/]+\.parquet")


@dataclass(frozen=True)
class Table:
    """One table at one commit.

    Args:
        path: Its folder in the lake.
        files: Paths of its Parquet files.
        folder: Where they are here.
        sha256: Of each file's bytes, by the name of the file.
    """

    path: str
    files: tuple[str, ...]
    folder: Path
    sha256: dict[str, str]

    @property
    def relation(self) -> str:
        """SQL that reads all its rows."""
        return f"read_parquet({literal(str(self.folder / '*.parquet'))})"


def table_files(paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The Parquet files of each table among the paths of a commit; evidence beside them is none."""
    found: dict[str, list[str]] = {}
    for path in paths:
        matched = FOLDER.match(path)
        ours = path.endswith(DATA) and "/_" not in path and "/changes/" not in path
        if matched and ours and not HELD.match(path):
            found.setdefault(matched[1], []).append(path)
    return {table: tuple(files) for table, files in sorted(found.items())}


def files_by_table(paths: Sequence[str], named: re.Pattern[str]) -> dict[str, tuple[str, ...]]:
    """The paths of a commit that are named so, in order, by the first group of their names: their table's."""
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        if matched := named.fullmatch(path):
            found.setdefault(matched[1], []).append(path)
    return {table: tuple(files) for table, files in found.items()}


@contextmanager
def downloaded(lake: LakeReader, ref: str, path: str, files: Sequence[str], scratch: Path) -> Iterator[Table]:
    """The table's files here, as long as the block runs.

    Raises:
        StoreUnreadable: The lake lists a file that it does not give.
    """
    folder = scratch / hashlib.sha256(path.encode()).hexdigest()[:16]
    folder.mkdir(parents=True)
    hashes: dict[str, str] = {}
    try:
        for number, file in enumerate(files):
            content = lake.read(ref, file)
            if content is None:
                raise StoreUnreadable(f"The lake lists {file}, but has no bytes of it.", ref=ref)
            hashes[file.rsplit("/", 1)[-1]] = hashlib.sha256(content).hexdigest()
            (folder / f"{number:06d}{DATA}").write_bytes(content)
        yield Table(path, tuple(files), folder, hashes)
    finally:
        for file_here in folder.iterdir():
            file_here.unlink()
        folder.rmdir()


@contextmanager
def connected(scratch: Path) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A database in memory, bounded, that spills to the scratch folder."""
    import duckdb

    spill = scratch / "spill"
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": "2GB",
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(config=config) as connection:
        yield connection


def columns(connection: "duckdb.DuckDBPyConnection", table: Table) -> list[str]:
    """Names of a table's columns."""
    return [row[0] for row in connection.execute(f"DESCRIBE FROM {table.relation}").fetchall()]


def count(connection: "duckdb.DuckDBPyConnection", query: str) -> int:
    """How many rows a query gives."""
    return int(connection.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0])


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL takes it."""
    return "'" + text.replace("'", "''") + "'"
