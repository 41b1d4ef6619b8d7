"""What follows from a run: the runs that its assets set off, and those that theirs do, until all ended."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from include.demo.airflow_api import ENDED, POLL_S, AirflowApi, AirflowError, AssetEvent, DagRun, TaskState

ASSET_TRIGGERED = "asset_triggered"
# Each run follows within seconds; what has not moved for so long will not move by itself.
STILL_FOR_S = 900.0


@dataclass(frozen=True)
class Link:
    """One run of a chain.

    Args:
        run: The run.
        causes: The events that set it off; none for a root.
        tasks: In order of their start.
    """

    run: DagRun
    causes: tuple[AssetEvent, ...]
    tasks: tuple[TaskState, ...]


@dataclass
class Chain:
    """The runs that follow from roots.

    Args:
        api: Where they are.
        roots: The runs that were triggered by hand.
        flows: The DAGs that can follow.
    """

    api: AirflowApi
    roots: Sequence[DagRun]
    flows: Sequence[str]
    _causes: dict[str, tuple[AssetEvent, ...]] = field(default_factory=dict)
    _tasks: dict[str, tuple[TaskState, ...]] = field(default_factory=dict)

    def links(self) -> list[Link]:
        """The runs as they are now, in order of their start."""
        return self._look()[0]

    def follow(self, watch: Callable[[list[Link]], None]) -> list[Link]:
        """Wait until all runs have ended and no asset asks for another.

        Args:
            watch: Told of all runs each time that they were looked at.

        Raises:
            AirflowError: Nothing has moved for long.
        """
        moved, seen = time.monotonic(), ""
        while True:
            links, whole = self._look()
            watch(links)
            # In this order: what is queued after the runs were read has a run when they are read again.
            if whole and _ended(links) and not any(map(self.api.is_queued, self.flows)):
                again, whole = self._look()
                if whole and len(again) == len(links):
                    return again
            if (now := repr(links)) != seen:
                moved, seen = time.monotonic(), now
            if time.monotonic() - moved > STILL_FOR_S:
                running = ", ".join(link.run.name for link in links if link.run.state not in ENDED)
                raise AirflowError(
                    f"Nothing has moved for {STILL_FOR_S:.0f} s; these runs have not ended: {running}.",
                    remedy="See `headrace status`, and the runs in Airflow's UI.",
                )
            time.sleep(POLL_S)

    def _look(self) -> tuple[list[Link], bool]:
        """The chain in order of start, and whether Airflow told of every run whether it belongs to it."""
        runs = {run.name: run for run in self.api.runs_since(min(root.after for root in self.roots))}
        reached: dict[str, tuple[AssetEvent, ...]] = {root.name: () for root in self.roots}
        waiting = [run for run in runs.values() if run.kind == ASSET_TRIGGERED and run.dag in self.flows]
        causes = {run.name: self._caused_by(run) for run in waiting}
        while found := [name for name in causes.keys() - reached if reached.keys() & _runs(causes[name])]:
            reached |= {name: causes[name] for name in found}
        members = sorted((runs[name] for name in reached), key=lambda run: run.started or float("inf"))
        links = [Link(run, reached[run.name], self._tasks_of(run)) for run in members]
        return links, all(run.name in self._causes for run in waiting)

    def _caused_by(self, run: DagRun) -> tuple[AssetEvent, ...]:
        """What set it off, asked for until it was told."""
        if run.name not in self._causes:
            causes = self.api.causes(run)
            if causes is None:
                return ()
            self._causes[run.name] = tuple(causes)
        return self._causes[run.name]

    def _tasks_of(self, run: DagRun) -> tuple[TaskState, ...]:
        key = f"{run.name} {run.ended}"
        if key in self._tasks:
            return self._tasks[key]
        tasks = tuple(self.api.tasks(run.dag, run.id))
        if run.state in ENDED:
            self._tasks[key] = tasks
        return tasks


def _runs(causes: Sequence[AssetEvent]) -> set[str]:
    return {cause.run for cause in causes}


def _ended(links: Sequence[Link]) -> bool:
    return all(link.run.state in ENDED for link in links)
