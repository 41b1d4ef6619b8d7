"""What each model and test of a build came to, kept by run, for people to look at.

Not in the lake: seconds differ each time, and building the same features again must publish nothing.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from include.features.dbt import NodeResult
from include.lake.names import run_slug

FOLDER = "dbt_results"
KEPT_BUILDS = 500


@dataclass(frozen=True)
class BuildResults:
    """One build, finished or failed.

    Args:
        source: What the features were built from.
        data_commit: Commit that its raw tables were read at.
        seconds: Of the whole build; 0 where it failed.
        nodes: Models and tests, in the order in which they ended.
        failure: Why there are no tables; empty where there are.
    """

    source: str
    data_commit: str
    seconds: float
    nodes: tuple[NodeResult, ...]
    failure: str = ""


def keep_results(home: Path, station: str, run_id: str, results: BuildResults) -> Path:
    """Keep the results of a run, in place of those of an earlier try; of many runs the newest.

    Args:
        home: The state folder.
        station: The flow that the run is of.
        run_id: The run, as the orchestrator names it.
        results: What to keep.
    """
    path = _path(home, station, run_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(asdict(results), indent=1) + "\n")
    fresh.replace(path)
    _forget_oldest(sorted(path.parent.glob("*.json"), key=lambda kept: kept.stat().st_mtime))
    return path


def read_results(home: Path, station: str, run_id: str) -> BuildResults | None:
    """The results of a run; None where it has not built yet, or long ago."""
    path = _path(home, station, run_id)
    if not path.is_file():
        return None
    kept = json.loads(path.read_text())
    nodes = tuple(NodeResult(**node) for node in kept.pop("nodes"))
    return BuildResults(nodes=nodes, **kept)


def _path(home: Path, station: str, run_id: str) -> Path:
    return home / FOLDER / f"{run_slug(station, run_id)}.json"


def _forget_oldest(kept: Sequence[Path]) -> None:
    for path in kept[:-KEPT_BUILDS]:
        path.unlink(missing_ok=True)
