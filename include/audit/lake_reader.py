"""The lake over its HTTP API, read only: commits, objects, protection."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from include.audit.errors import StoreUnreadable
from include.settings import Settings

MAIN = "main"
TIMEOUT_S = 60.0
PAGE = 1000

Commit = dict[str, Any]


@dataclass(frozen=True)
class LakeReader:
    """One repository of a lakeFS server.

    Args:
        http: A client whose base is the repository.
        known: Commits that were fetched already, by id; None for one that is not there.
    """

    http: httpx.Client
    known: dict[str, Commit | None] = field(default_factory=dict)

    @staticmethod
    def connect(settings: Settings) -> "LakeReader":
        """A reader of the repository that the settings name; no request is made yet."""
        secret = settings.lakefs_secret_access_key.get_secret_value()
        return LakeReader(
            httpx.Client(
                base_url=f"{settings.lakefs_endpoint}/api/v1/repositories/{settings.lake_repository}/",
                auth=(settings.lakefs_access_key_id, secret),
                timeout=TIMEOUT_S,
                follow_redirects=True,
            )
        )

    def main_chain(self) -> list[Commit]:
        """The commits of main along the first parent, the latest first."""
        chain = list(self._pages(f"refs/{MAIN}/commits", first_parent="true"))
        self.known.update({commit["id"]: commit for commit in chain})
        return chain

    def commit(self, commit_id: str) -> Commit | None:
        """A commit by its id; None if there is none."""
        if commit_id not in self.known:
            answer = self._get(f"commits/{commit_id}", absent=True)
            found = None if answer is None else answer.json()
            self.known[commit_id] = found if found is None or found["id"] == commit_id else None
        return self.known[commit_id]

    def protected(self) -> list[str]:
        """Patterns of the branches that nobody may write to directly."""
        answer = self._get("settings/branch_protection", absent=True)
        return [] if answer is None else [rule["pattern"] for rule in answer.json()]

    def uncommitted(self) -> list[str]:
        """Paths that are staged on main: readers of the branch would see them before any commit."""
        return [change["path"] for change in self._pages(f"branches/{MAIN}/diff")]

    def objects(self, ref: str, prefix: str = "") -> list[dict[str, Any]]:
        """What lies under a prefix: path, size_bytes, checksum, metadata."""
        return list(self._pages(f"refs/{ref}/objects/ls", prefix=prefix))

    def changed(self, before: str, after: str, prefix: str) -> list[str]:
        """Paths under a prefix in which two commits differ."""
        diff = self._pages(f"refs/{before}/diff/{after}", prefix=prefix, type="two_dot")
        return [change["path"] for change in diff]

    def read(self, ref: str, path: str) -> bytes | None:
        """The bytes of an object; None if there is none."""
        answer = self._get(f"refs/{ref}/objects", absent=True, path=path)
        return None if answer is None else answer.content

    def document(self, ref: str, path: str) -> dict[str, Any] | None:
        """A JSON object of the lake; None if there is none.

        Raises:
            StoreUnreadable: It is no JSON object.
        """
        content = self.read(ref, path)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise StoreUnreadable(f"{path} is no JSON object.", ref=ref)
        return found

    def _pages(self, route: str, **params: str) -> Iterator[dict[str, Any]]:
        after = ""
        while True:
            answer = self._get(route, absent=False, **params, amount=str(PAGE), after=after)
            assert answer is not None
            page = answer.json()
            yield from page["results"]
            if not page["pagination"]["has_more"]:
                return
            after = page["pagination"]["next_offset"]

    def _get(self, route: str, /, *, absent: bool, **params: str) -> httpx.Response | None:
        """The answer; None for 404 where something may be absent."""
        try:
            answer = self.http.get(route, params={key: value for key, value in params.items() if value})
            if absent and answer.status_code == httpx.codes.NOT_FOUND:
                return None
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise StoreUnreadable(
                f"The lake cannot be read: {type(error).__name__}: {route}.",
                remedy="Start it with `headrace up`, or check HEADRACE_LAKEFS_ENDPOINT and its keys.",
                endpoint=str(self.http.base_url),
            ) from error
        return answer
