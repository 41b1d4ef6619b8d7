"""The lake engine against a dictionary: random branches, writes, merges, conflicts, resets and restarts.

Ranges are cut every few entries here, so that small trees have the shape of large ones.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    rule,
    run_state_machine_as_test,
)

from include.stack.lakefs.engine import Engine, ranges
from include.stack.lakefs.model import MergeStrategy
from tests.unit.lakefs.dictionary_lake import (
    changed,
    joined,
    merge_trees,
    overlay,
    rolled,
    value_of,
)
from tests.unit.lakefs.lake_machine import REPOSITORY, WritingMachine, branches


class LakeMachine(WritingMachine):
    """What is read at any moment is what the model holds."""

    commits = WritingMachine.commits

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = Engine(self.folder)

    @rule(
        left=commits,
        right=commits,
        amount=st.sampled_from([1, 3, 1000]),
        delimiter=st.sampled_from(["", "/"]),
    )
    def diff(self, left: str, right: str, amount: int, delimiter: str) -> None:
        def found(kind: Any) -> list[tuple[str, str]]:
            lines = joined(
                lambda after: self.engine.diff(
                    REPOSITORY, left, right, type=kind, after=after, amount=amount, delimiter=delimiter
                )
            )
            return [
                ("prefix" if line.path_type == "common_prefix" else line.type, line.path) for line in lines
            ]

        two_dot = changed(self.known[left].tree, self.known[right].tree)
        assert found("two_dot") == self._lines(two_dot, delimiter)
        base = self.base_of(right, left)
        _, conflicts = merge_trees(self.known[left].tree, self.known[right].tree, base, MergeStrategy.NONE)
        three_dot = {
            path: "conflict" if path in conflicts else kind
            for path, kind in changed(base, self.known[right].tree).items()
            if self.known[left].tree.get(path) != self.known[right].tree.get(path)
        }
        assert found("three_dot") == self._lines(three_dot, delimiter)

    @staticmethod
    def _lines(kinds: Mapping[str, str], delimiter: str) -> list[tuple[str, str]]:
        return [(kinds.get(line, "prefix"), line) for line in rolled(list(kinds), "", delimiter)]

    @rule(
        branch=branches,
        prefix=st.sampled_from(["", "a", "a/", "b/", "bulk/", "bulk/1", "none"]),
        delimiter=st.sampled_from(["", "/"]),
        amount=st.sampled_from([1, 2, 7]),
    )
    def listing(self, branch: str, prefix: str, delimiter: str, amount: int) -> None:
        if branch not in self.model:
            return
        expected = sorted(overlay(self.tree(branch), self.model[branch].staged))
        found = joined(
            lambda after: self.engine.list_entries(
                REPOSITORY, branch, prefix=prefix, after=after, delimiter=delimiter, amount=amount
            )
        )
        assert [line.path for line in found] == rolled(expected, prefix, delimiter)

    @rule(branch=branches, amount=st.sampled_from([1, 3, 1000]))
    def log(self, branch: str, amount: int) -> None:
        if branch not in self.model:
            return
        after, listed = "", []
        while True:
            page = self.engine.log(REPOSITORY, branch, after=after, amount=amount)
            listed += [commit.id for commit in page.results]
            if not page.has_more:
                break
            after = page.next_offset
        assert len(listed) == len(set(listed))
        assert set(listed) == self.ancestors(self.model[branch].head)
        place = {commit: at for at, commit in enumerate(listed)}
        assert all(
            place[parent] > at for commit, at in place.items() for parent in self.known[commit].parents
        )

    @invariant()
    def branches_hold_what_the_model_holds(self) -> None:
        if not self.model:
            return
        listed = self.engine.list_branches(REPOSITORY)
        assert {ref.id: ref.commit_id for ref in listed.results} == {
            name: branch.head for name, branch in self.model.items()
        }
        for name, branch in self.model.items():
            committed = self.engine.list_entries(REPOSITORY, f"{name}@").results
            assert {line.path: value_of(line) for line in committed} == self.tree(name)
            staged = self.engine.list_entries(REPOSITORY, name).results
            assert {line.path: value_of(line) for line in staged} == overlay(self.tree(name), branch.staged)
            dirty = self.engine.diff_branch(REPOSITORY, name).results
            assert {line.path: line.type for line in dirty} == self.effective(name)
            assert self.engine.is_dirty(REPOSITORY, name) is bool(dirty)

    @invariant()
    def tags_and_old_commits_stay(self) -> None:
        for name, commit in self.tags.items():
            assert self.engine.get_tag(REPOSITORY, name).commit_id == commit
        for commit in list(self.known)[:: max(1, len(self.known) // 3)]:
            found = self.engine.list_entries(REPOSITORY, commit).results
            assert {line.path: value_of(line) for line in found} == self.known[commit].tree


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_MIN_COUNT", 2)
    monkeypatch.setattr(ranges, "RANGE_MAX_COUNT", 9)
    monkeypatch.setattr(ranges, "_CUT_BELOW", 2**32 // 4)


@pytest.mark.timeout(300)
def test_engine_against_dictionary() -> None:
    machine: Any = LakeMachine
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=250,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
