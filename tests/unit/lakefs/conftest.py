"""A repository in a fresh engine, with the few moves that the engine's tests are made of."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from include.stack.lakefs.engine import Engine
from include.stack.lakefs.model import Commit, Entry

REPOSITORY = "repo"
ME = "tester"


class Lake:
    """The repository `repo`; a value is the checksum of an object."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._serial = 0
        engine.create_repository(REPOSITORY, "s3://bucket/repo")

    def put(self, path: str, value: str = "1", branch: str = "main", **fields: object) -> Entry:
        self._serial += 1
        entry = Entry(path, f"data/{self._serial}", checksum=value, size_bytes=len(value), **fields)  # type: ignore[arg-type]
        self.engine.stage(REPOSITORY, branch, entry)
        return entry

    def delete(self, path: str, branch: str = "main") -> None:
        self.engine.delete(REPOSITORY, branch, path)

    def commit(self, message: str = "m", branch: str = "main", **options: object) -> Commit:
        return self.engine.commit(REPOSITORY, branch, message, ME, **options)  # type: ignore[arg-type]

    def save(self, branch: str = "main", message: str = "m", **values: str) -> Commit:
        """Put objects (path=value) and commit them."""
        for path, value in values.items():
            self.put(path, value, branch)
        return self.commit(message, branch)

    def branch(self, name: str, source: str = "main") -> str:
        return self.engine.create_branch(REPOSITORY, name, source).commit_id

    def merge(self, source: str, destination: str = "main", **options: object) -> Commit:
        return self.engine.merge(REPOSITORY, source, destination, ME, **options)  # type: ignore[arg-type]

    def head(self, branch: str = "main") -> str:
        return self.engine.get_branch(REPOSITORY, branch).commit_id

    def content(self, ref: str = "main") -> dict[str, str]:
        page = self.engine.list_entries(REPOSITORY, ref, amount=100_000)
        assert not page.has_more
        return {entry.path: entry.checksum for entry in page.results if isinstance(entry, Entry)}

    def changes(self, branch: str = "main") -> list[tuple[str, str]]:
        return [(change.type, change.path) for change in self.engine.diff_branch(REPOSITORY, branch).results]

    def diff(self, left: str, right: str, **options: object) -> list[tuple[str, str]]:
        page = self.engine.diff(REPOSITORY, left, right, **options)  # type: ignore[arg-type]
        return [(change.type, change.path) for change in page.results]

    def log(self, ref: str = "main", **options: object) -> list[str]:
        return [commit.message for commit in self.engine.log(REPOSITORY, ref, **options).results]  # type: ignore[arg-type]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = Engine(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def lake(engine: Engine) -> Lake:
    return Lake(engine)
