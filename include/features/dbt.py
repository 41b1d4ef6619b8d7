"""dbt in this process: one invocation over a checkout, from a manifest that is parsed once per project.

Starting dbt costs seconds of import and parsing each time, so nodes are not run one by one: one invocation
runs them all, and tells of each. Nothing is written into the project's folder, and nothing is sent home.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Literal

from include.features.errors import FeatureBuildError
from include.features.project import PROJECT, manifest_hash

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest

# dbt names relations by their database, and the names are in the manifest: it must always be this one.
DATABASE = "features.duckdb"
_MANIFEST = "partial_parse.msgpack"
_TOLD = {"LogModelResult", "LogTestResult"}

logger = logging.getLogger(__name__)

Status = Literal["success", "pass", "warn", "fail", "error", "skipped"]


@dataclass(frozen=True)
class NodeResult:
    """How one model or test went.

    Args:
        name: Its name in the project.
        kind: `model`, `test` or `unit_test`.
        status: A model is a `success`, a test a `pass`; either may end otherwise.
        seconds: What it took.
        file: Where it is written, relative to the repository.
        message: What went wrong; empty where nothing did.
        rows: Rows of a model kept as a table; of a failed test, the rows that fail it.
    """

    name: str
    kind: str
    status: Status
    seconds: float
    file: str
    message: str = ""
    rows: int | None = None


@dataclass(frozen=True)
class Bounds:
    """What an invocation may take.

    Args:
        threads: Nodes that run at once.
        engine_threads: Threads of the engine under them.
        engine_memory: Its memory, as DuckDB spells it; beyond it spills to disk.
    """

    threads: int = 2
    engine_threads: int = os.cpu_count() or 1
    engine_memory: str = "2GB"


class Dbt:
    """dbt over one checkout, in one scratch folder.

    Args:
        checkout: Folder that mirrors the lake's paths.
        scratch: Folder for the database and dbt's own files.
        state: Folder that keeps parsed projects.
        project: The dbt project.
        bounds: What it may take.
    """

    def __init__(
        self,
        checkout: Path,
        scratch: Path,
        state: Path,
        *,
        project: Path = PROJECT,
        bounds: Bounds | None = None,
    ) -> None:
        self.database = scratch / DATABASE
        self.target = scratch / "target"
        self._scratch = scratch
        self._project = project
        self._bounds = bounds or Bounds()
        self._variables = {
            "checkout": str(checkout.absolute()),
            "database": str(self.database),
            "engine_threads": str(self._bounds.engine_threads),
            "engine_memory": self._bounds.engine_memory,
        }
        self._manifest: Manifest | None = None
        self._manifest = self._parsed(state)

    def build(self, selection: Sequence[str], *, unit_tests: bool = False) -> tuple[NodeResult, ...]:
        """Run models and their tests, each after what it needs; in the order in which they ended.

        Args:
            selection: What to build, in dbt's words, such as `source:retail+`.
            unit_tests: Run unit tests, too: they prove the code, not the data.

        Raises:
            FeatureBuildError: A node failed, nothing was selected, or dbt could not run.
        """
        skipped = [] if unit_tests else ["--exclude-resource-type", "unit_test"]
        ended = self._invoke("build", "--select", *selection, *skipped)
        results = self._results(ended)
        _refuse_failure(results, ended, self._project)
        if not any(result.kind == "model" for result in results):
            raise FeatureBuildError(
                f"{self._shown}: nothing is selected by {' '.join(selection)!r}.",
                remedy="Name a source that the project's models read.",
            )
        return results

    def document(self, folder: Path) -> Path:
        """Write the project's documentation, with the built tables' statistics, as one HTML page.

        Raises:
            FeatureBuildError: dbt could not write it.
        """
        ended = self._invoke("docs", "generate", "--static", "--no-compile")
        if not ended.success:
            raise FeatureBuildError(f"{self._shown}: no documentation could be written: {ended.exception}")
        folder.mkdir(parents=True, exist_ok=True)
        for kept in ("manifest.json", "catalog.json", "run_results.json"):
            if (self.target / kept).is_file():
                shutil.copy(self.target / kept, folder / kept)
        return Path(shutil.copy(self.target / "static_index.html", folder / "index.html"))

    @property
    def _shown(self) -> str:
        return self._project.name

    def _invoke(self, *command: str) -> "dbtRunnerResult":
        from dbt.cli.main import dbtRunner

        with _released():
            return dbtRunner(self._manifest, [_tell]).invoke([*command, *self._options()])

    def _options(self) -> list[str]:
        project, scratch = str(self._project), str(self._scratch)
        return [
            *("--project-dir", project, "--profiles-dir", project, "--target", "duckdb"),
            *("--target-path", str(self.target), "--log-path", scratch, "--log-level-file", "none"),
            *("--vars", json.dumps(self._variables), "--threads", str(self._bounds.threads)),
            *("--quiet", "--log-level", "none", "--no-use-colors", "--no-send-anonymous-usage-stats"),
        ]

    def _parsed(self, state: Path) -> "Manifest":
        """The project's manifest, from the state folder if this very project was parsed before."""
        from dbt.contracts.graph.manifest import Manifest

        kept = state / manifest_hash(self._project)[:16] / _MANIFEST
        if kept.is_file():
            return Manifest.from_msgpack(kept.read_bytes())
        ended = self._invoke("parse", "--no-partial-parse")
        if not isinstance(ended.result, Manifest):
            raise FeatureBuildError(f"{self._shown}: is no valid dbt project: {_cause(str(ended.exception))}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
        fresh.write_bytes(ended.result.to_msgpack())
        fresh.replace(kept)
        return ended.result

    def _results(self, ended: "dbtRunnerResult") -> tuple[NodeResult, ...]:
        nodes = getattr(ended.result, "results", ())
        return tuple(_result(node, self._project) for node in nodes)


@contextmanager
def scratch_folder(state: Path) -> Iterator[Path]:
    """A folder of its own for one build, gone when it is over."""
    state.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="build-", dir=state))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _released() -> Iterator[None]:
    """Close the database when dbt is done: its adapter keeps one open for the life of the process."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    manager: Any = DuckDBConnectionManager
    try:
        yield
    finally:
        if manager._ENV is not None:
            manager.env().close()
        manager.close_all_connections()


def _tell(event: Any) -> None:
    if event.info.name in _TOLD:
        node = event.data.node_info
        seconds = event.data.execution_time
        logger.info("%s %s: %s, %.2f s", node.resource_type, node.node_name, node.node_status, seconds)


def _result(ended: Any, project: Path) -> NodeResult:
    node = ended.node
    failed = ended.status in ("error", "fail", "warn")
    return NodeResult(
        name=node.name,
        kind=str(node.resource_type),
        status=str(ended.status),  # type: ignore[arg-type]
        seconds=round(ended.execution_time, 3),
        file=f"{project.name}/{node.original_file_path}",
        message=_cause(ended.message or "") if failed else "",
        rows=ended.failures if failed else None,
    )


def _cause(message: str) -> str:
    """The engine's words in one line: without dbt's heading, which repeats model and file, and the carets."""
    lines = [line.strip() for line in message.splitlines()]
    told = [line for line in lines if line.strip("^") and " Error in " not in line]
    return " ".join(told or lines)


def _refuse_failure(results: Sequence[NodeResult], ended: "dbtRunnerResult", project: Path) -> None:
    """Raise the first failure: those after it are mostly its consequence, and are counted."""
    broken = [result for result in results if result.status in ("error", "fail")]
    if broken:
        first = broken[0]
        skipped = sum(result.status == "skipped" for result in results)
        error = FeatureBuildError(
            f"{first.file}: {first.kind} {first.name!r}: {first.message}",
            remedy="Correct the model or the data; nothing was written.",
            failed=", ".join(result.name for result in broken),
            skipped=skipped,
        )
        error.results = tuple(results)
        raise error
    if not ended.success:
        raise FeatureBuildError(f"{project.name}: dbt could not run: {ended.exception}")
