"""The registry over MLflow's REST API, read only: versions, champions, runs, and the bytes of models."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from include.audit.errors import StoreUnreadable
from include.settings import Settings

CHAMPION = "champion"
BUNDLE = "data/bundle"
API = "api/2.0/mlflow"
TIMEOUT_S = 60.0
PAGE = 200


@dataclass(frozen=True)
class Version:
    """One registered version.

    Args:
        product: Name of the registered model.
        version: Its number.
        run_id: Run that made it.
        source: Where its files are.
        tags: All its tags.
        files: Bytes of the files of its bundle, by name.
    """

    product: str
    version: str
    run_id: str
    source: str
    tags: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        """As a report names it."""
        return f"{self.product}/{self.version}"


@dataclass(frozen=True)
class Registered:
    """All that the registry holds.

    Args:
        versions: Every version of every product.
        champions: Version that the alias names, by product.
        told: Every tag, parameter and description, as `(where, text)`.
    """

    versions: tuple[Version, ...] = ()
    champions: dict[str, str] = field(default_factory=dict)
    told: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class RegistryReader:
    """One MLflow server.

    Args:
        http: A client whose base is the server.
    """

    http: httpx.Client

    @staticmethod
    def connect(settings: Settings) -> "RegistryReader":
        """A reader of the settings' server; no request is made yet."""
        return RegistryReader(
            httpx.Client(base_url=settings.mlflow_tracking_uri, timeout=TIMEOUT_S, follow_redirects=True)
        )

    def read(self) -> Registered:
        """Everything, with the bytes of each version's bundle.

        Raises:
            StoreUnreadable: The server does not answer as MLflow does.
        """
        models = list(self._pages(f"{API}/registered-models/search", "registered_models"))
        found = list(self._pages(f"{API}/model-versions/search", "model_versions"))
        versions = tuple(self._version(item) for item in found)
        champions = {
            model["name"]: str(alias["version"])
            for model in models
            for alias in model.get("aliases", ())
            if alias["alias"] == CHAMPION
        }
        told = [*_told(models, "model"), *_told(found, "version"), *self._runs()]
        return Registered(versions, champions, tuple(told))

    def _version(self, item: dict[str, Any]) -> Version:
        tags = {tag["key"]: tag["value"] for tag in item.get("tags", ())}
        source = item.get("source", "")
        files = self._files(source)
        return Version(item["name"], str(item["version"]), item.get("run_id", ""), source, tags, files)

    def _files(self, source: str) -> dict[str, bytes]:
        model = source.removeprefix("models:/")
        listing = f"{API}/logged-models/{model}/artifacts/directories"
        content = f"ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files"
        answer = self._get(listing, absent=True, artifact_directory_path=BUNDLE)
        if answer is None:
            return {}
        files: dict[str, bytes] = {}
        for file in answer.json().get("files", ()):
            if not file.get("is_dir"):
                held = self._get(content, absent=True, artifact_file_path=file["path"])
                files[file["path"].removeprefix(f"{BUNDLE}/")] = b"" if held is None else held.content
        return files

    def _runs(self) -> Iterator[tuple[str, str]]:
        experiments = [
            item["experiment_id"]
            for item in self._pages(f"{API}/experiments/search", "experiments", view_type="ALL")
        ]
        token = ""
        while experiments:
            body = {"experiment_ids": experiments, "max_results": PAGE, "page_token": token}
            answer = self._send("POST", f"{API}/runs/search", json=body)
            assert answer is not None
            page = answer.json()
            for run in page.get("runs", ()):
                where = f"run {run['info']['run_id']}"
                for kind in ("params", "tags"):
                    for item in run["data"].get(kind, ()):
                        yield f"{where} {kind} {item['key']}", item["value"]
            token = page.get("next_page_token", "")
            if not token:
                return

    def _pages(self, path: str, items: str, **params: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            asked = {**params, "max_results": str(PAGE), "page_token": token}
            answer = self._get(path, absent=False, **asked)
            assert answer is not None
            page = answer.json()
            yield from page.get(items, ())
            token = page.get("next_page_token", "")
            if not token:
                return

    def _get(self, path: str, *, absent: bool, **params: str) -> httpx.Response | None:
        asked = {key: value for key, value in params.items() if value}
        return self._send("GET", path, absent=absent, params=asked)

    def _send(self, method: str, path: str, *, absent: bool = False, **request: Any) -> httpx.Response | None:
        try:
            answer = self.http.request(method, path, **request)
            if absent and answer.status_code == httpx.codes.NOT_FOUND:
                return None
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise StoreUnreadable(
                f"The registry cannot be read: {type(error).__name__}: {path}.",
                remedy="Start it with `headrace up`, or check HEADRACE_MLFLOW_TRACKING_URI.",
                endpoint=str(self.http.base_url),
            ) from error
        return answer


def _told(items: list[dict[str, Any]], kind: str) -> Iterator[tuple[str, str]]:
    for item in items:
        where = f"{kind} {item['name']}" + (f"/{item['version']}" if "version" in item else "")
        yield f"{where} description", item.get("description", "")
        for tag in item.get("tags", ()):
            yield f"{where} tags {tag['key']}", tag["value"]
