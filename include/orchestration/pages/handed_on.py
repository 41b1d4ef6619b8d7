"""What the tasks of a run handed on, as the web server may read it: plain values, no class is restored."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from include.spec.refs import CommitRef
from include.spec.verdict import Finding, Verdict

# Which task hands on which commit, and where in the value it stands; in the order of the flows.
_COMMITS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("build", "built", ("data",)),
    ("publish", "published", ("commit",)),
    ("refuse", "refused", ("commit",)),
    ("pin", "return_value", ("features_at",)),
    ("pin", "return_value", ("at",)),
    ("score", "scored", ("features_at",)),
    ("watch", "monitored", ("published",)),
)
_READ = {"data", "features_at"}
_SERIALIZED = "__data__"


class RunCommit(NamedTuple):
    """A commit of the lake that a task read or made."""

    task: str
    made: bool
    commit: CommitRef


class HandedOn:
    """The XCom values of one run.

    Args:
        values: By task and key, as they are stored.
    """

    def __init__(self, values: Mapping[tuple[str, str], Any]) -> None:
        self._values = {name: plain(value) for name, value in values.items()}

    def get(self, task: str, key: str = "return_value") -> Any:
        """One value; None where the task has not handed it on."""
        return self._values.get((task, key))

    @property
    def commits(self) -> tuple[RunCommit, ...]:
        """The commits that its tasks read and made."""
        found = []
        for task, key, path in _COMMITS:
            value = self.get(task, key)
            for step in path:
                value = value.get(step) if isinstance(value, Mapping) else None
            if value:
                found.append(RunCommit(task, path[-1] not in _READ, CommitRef(**value)))
        return tuple(found)

    @property
    def verdict(self) -> Verdict | None:
        """What the gate, or the judge of a training, decided; None before."""
        for task in ("gate", "judge"):
            judged = self.get(task, "judged")
            if judged:
                kept = judged["verdict"]
                findings = tuple(Finding(**finding) for finding in kept["findings"])
                return Verdict(**{**kept, "findings": findings})
        return None

    @property
    def candidate(self) -> Mapping[str, Any] | None:
        """What a training's judge said of the candidate beside the verdict: `primary`, `champion_version`."""
        judged = self.get("judge", "judged")
        return judged if isinstance(judged, Mapping) else None

    @property
    def registry_run(self) -> str | None:
        """The registry's run that holds the candidate of a training."""
        candidate = self.get("fit")
        return candidate["run_id"] if candidate else None


def plain(value: Any) -> Any:
    """A stored value without the names of its classes: dicts, lists and scalars."""
    if isinstance(value, Mapping):
        if _SERIALIZED in value:
            return plain(value[_SERIALIZED])
        return {key: plain(held) for key, held in value.items()}
    if isinstance(value, list):
        return [plain(held) for held in value]
    return value
