"""I4, I5 and I9 of commits: what main is made of, and that its history is whole."""

import fnmatch
from collections.abc import Callable, Sequence

from include.audit.lake_reader import MAIN, Commit
from include.audit.result import Checked, Violation

RUN, SUITE, CODE = "headrace.run_id", "headrace.suite_hash", "headrace.code_version"
VERDICT, CHECKED, KIND = "headrace.verdict", "headrace.checked", "headrace.kind"
DRAFT, BASE, STATION = "headrace.draft", "headrace.base", "headrace.station"

Find = Callable[[str], Commit | None]


def published(chain: Sequence[Commit]) -> list[Commit]:
    """The commits of main but the one that made the repository: it has no parent, and holds nothing."""
    return [commit for commit in chain if commit.get("parents")]


def check_verdicts(chain: Sequence[Commit]) -> Checked:
    """I4: each commit names the suite that it passed, how much was checked, the run and the code."""
    violations = []
    for commit in published(chain):
        told = commit.get("metadata") or {}
        violations += [
            Violation(commit["id"], f"does not name its {key.removeprefix('headrace.')}")
            for key in (SUITE, RUN, CODE)
            if not told.get(key)
        ]
        if told.get(VERDICT) != "passed":
            violations.append(Violation(commit["id"], f"has verdict {told.get(VERDICT)!r}"))
        count = told.get(CHECKED, "")
        if not count.isdecimal() or int(count) == 0:
            violations.append(Violation(commit["id"], f"passed {count or 'no'} rules"))
    return Checked("commits on main", len(published(chain)), tuple(violations))


def check_merges(chain: Sequence[Commit], find: Find) -> Checked:
    """I5: each commit of main is the merge of one draft that had passed, and holds nothing else."""
    violations = []
    for commit in published(chain):
        violations += [Violation(commit["id"], what) for what in _merge_faults(commit, find)]
    return Checked("merges", len(published(chain)), tuple(violations))


def _merge_faults(commit: Commit, find: Find) -> list[str]:
    told = commit.get("metadata") or {}
    if told.get(KIND) != "published" or not told.get(DRAFT):
        return ["was not made by merging a draft"]
    if len(commit["parents"]) > 1 and told[DRAFT] not in commit["parents"]:
        return [f"merges {commit['parents'][1]}, not the draft {told[DRAFT]} that it names"]
    draft = find(told[DRAFT])
    if draft is None:
        return [f"names a draft that is not there: {told[DRAFT]}"]
    own = draft.get("metadata") or {}
    faults = []
    if own.get(KIND) != "passed":
        faults.append(f"merged a draft that is {own.get(KIND)!r}: {told[DRAFT]}")
    faults += [
        f"differs from its draft in {key}"
        for key in (RUN, STATION, SUITE, VERDICT, BASE)
        if own.get(key) != told.get(key)
    ]
    # Nothing else came in between, so that the merge must be the very tree that the gates saw.
    if commit["parents"][0] == told.get(BASE) and commit["meta_range_id"] != draft["meta_range_id"]:
        faults.append("holds other objects than the draft that was judged")
    return faults


def check_protection(patterns: Sequence[str], uncommitted: Sequence[str]) -> Checked:
    """I5: nobody can write to main directly, and nobody has."""
    violations = [Violation(path, "is on main but in no commit") for path in uncommitted]
    if not any(fnmatch.fnmatchcase(MAIN, pattern) for pattern in patterns):
        violations.append(Violation(MAIN, "is not protected from direct writes"))
    return Checked("branch protection", 1, tuple(violations))


def check_chain(chain: Sequence[Commit], find: Find) -> Checked:
    """I9: each commit's parents are there, and the chain of first parents ends where the repository began."""
    violations = []
    for commit, after in zip(chain, [*chain[1:], None], strict=True):
        parents = commit.get("parents") or []
        violations += [
            Violation(commit["id"], f"has a parent that is not there: {parent}")
            for parent in parents
            if find(parent) is None
        ]
        expected = None if after is None else after["id"]
        if (parents[0] if parents else None) != expected:
            violations.append(Violation(commit["id"], f"is followed by {expected}, no parent of it"))
    return Checked("commits", len(chain), tuple(violations))
