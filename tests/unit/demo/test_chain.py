"""Runs that follow from a root: found through their assets, waited for until nothing more can come."""

from dataclasses import replace

import pytest

from include.demo import chain as module
from include.demo.airflow_api import AirflowError, AssetEvent, DagRun, TaskState
from include.demo.chain import Chain

FLOWS = ("build", "train")
ROOT = DagRun("ingest", "root", "success", "manual", "2026-01-01T00:00:00Z", 1.0, 2.0, {})


def following(dag: str, run: str, state: str = "success", started: float | None = 3.0) -> DagRun:
    return DagRun(dag, run, state, "asset_triggered", "2026-01-01T00:00:01Z", started, None, {})


class Airflow:
    """Answers as Airflow would at a moment; `script` holds what changes at each look at the runs."""

    def __init__(self, *script: dict) -> None:
        self.script = list(script)
        self.now: dict = {}
        self.looks = 0

    def runs_since(self, moment: str) -> list[DagRun]:
        self.looks += 1
        if self.script:
            self.now = self.script.pop(0)
        return [ROOT, *self.now.get("runs", ())]

    def causes(self, run: DagRun) -> list[AssetEvent] | None:
        found = self.now.get("causes", {}).get(run.name)
        return None if found is None else [AssetEvent("/".join(cause), {}) for cause in found]

    def is_queued(self, dag: str) -> bool:
        return dag in self.now.get("queued", ())

    def tasks(self, dag: str, run: str) -> list[TaskState]:
        return []


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.0)


def follow(*script: dict) -> tuple[list[str], Airflow]:
    airflow = Airflow(*script)
    links = Chain(airflow, [ROOT], FLOWS).follow(lambda links: None)  # type: ignore[arg-type]
    return [link.run.name for link in links], airflow


def test_what_follows_is_found_over_several_links_and_other_runs_are_not():
    build, train = following("build", "b", started=3.0), following("train", "t", started=4.0)
    foreign = following("train", "foreign")
    causes = {
        "build/b": [("ingest", "root")],
        "train/t": [("build", "b")],
        "train/foreign": [("build", "older")],
    }
    names, _ = follow({"runs": [foreign, train, build], "causes": causes})
    assert names == ["ingest/root", "build/b", "train/t"]


def test_a_run_that_an_asset_has_asked_for_and_that_is_not_made_yet_is_waited_for():
    build = following("build", "b")
    names, airflow = follow(
        {"queued": ("build",)}, {"runs": [build], "causes": {"build/b": [("ingest", "root")]}}
    )
    assert names == ["ingest/root", "build/b"]
    assert airflow.looks >= 3


def test_a_run_that_is_made_between_two_looks_is_not_missed():
    build = following("build", "b", "running")
    done = replace(build, state="success")
    causes = {"build/b": [("ingest", "root")]}
    names, _ = follow({}, {"runs": [build], "causes": causes}, {"runs": [done], "causes": causes})
    assert names == ["ingest/root", "build/b"]


def test_while_airflow_cannot_tell_the_causes_the_chain_has_not_ended():
    waiting = following("build", "b", "queued", None)
    done = replace(waiting, state="success", started=5.0)
    names, _ = follow(
        {"runs": [waiting], "causes": {"build/b": None}},
        {"runs": [waiting], "causes": {"build/b": None}},
        {"runs": [done], "causes": {"build/b": [("ingest", "root")]}},
    )
    assert names == ["ingest/root", "build/b"]


def test_a_chain_that_stands_still_is_given_up_with_the_names_of_what_hangs(monkeypatch):
    monkeypatch.setattr(module, "STILL_FOR_S", -1.0)
    stuck = following("build", "b", "running")
    with pytest.raises(AirflowError, match="build/b"):
        follow({"runs": [stuck], "causes": {"build/b": [("ingest", "root")]}})
