"""The graph of commits: their ids, their order in a log, and where two histories met last."""

import hashlib
import heapq
import time
from collections.abc import Callable, Iterator, Mapping

from include.stack.lakefs.engine.ranges import encoder
from include.stack.lakefs.model import Commit

Find = Callable[[str], Commit]
"""Returns the commit of a full id."""


def new_commit(
    parents: tuple[Commit, ...],
    meta_range_id: str,
    *,
    committer: str,
    message: str,
    metadata: Mapping[str, str],
    date: int | None = None,
) -> Commit:
    """Return the commit record with its id, the hash of all the rest.

    Args:
        parents: First parent first.
        meta_range_id: Id of its tree.
        committer: Name of the user.
        message: Commit message.
        metadata: The user's key-value pairs.
        date: Unix time in seconds; None is now.
    """
    generation = 1 + max((parent.generation for parent in parents), default=0)
    ids = tuple(parent.id for parent in parents)
    seconds, nanosecond = divmod(time.time_ns(), 10**9) if date is None else (date, 0)
    content = (committer, message, meta_range_id, seconds, dict(metadata), ids, generation)
    return Commit(
        id=hashlib.sha256(encoder.encode(content)).hexdigest(),
        parents=ids,
        committer=committer,
        message=message,
        creation_date=seconds,
        meta_range_id=meta_range_id,
        metadata=dict(metadata),
        generation=generation,
        creation_nanosecond=nanosecond,
    )


def walk(
    start: Commit, find: Find, *, first_parent: bool = False, since: int | None = None
) -> Iterator[Commit]:
    """Yield a commit and its ancestors, newest first; equal dates in descending order of id.

    Args:
        start: Where to begin.
        find: Looks up parents.
        first_parent: Follow first parents only.
        since: Leave out commits before this unix time, and what only they lead to.
    """
    heap = [_NewestFirst(start)] if since is None or start.creation_date >= since else []
    seen = {start.id}
    while heap:
        commit = heapq.heappop(heap).commit
        yield commit
        for parent_id in commit.parents[:1] if first_parent else commit.parents:
            if parent_id in seen:
                continue
            seen.add(parent_id)
            parent = find(parent_id)
            if since is None or parent.creation_date >= since:
                heapq.heappush(heap, _NewestFirst(parent))


class _NewestFirst:
    """Orders commits for a heap."""

    __slots__ = ("commit", "key")

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self.key = (commit.creation_date, commit.creation_nanosecond, commit.id)

    def __lt__(self, other: "_NewestFirst") -> bool:
        return self.key > other.key


def merge_base(left: Commit, right: Commit, find: Find) -> Commit | None:
    """Return the best common ancestor of two commits, None if their histories never met.

    Commits are visited by descending generation, so each after all its descendants: the first that
    is reached from both sides has no common ancestor below it.
    """
    reached = {left.id: 1}
    reached[right.id] = reached.get(right.id, 0) | 2
    heap = [(-commit.generation, commit.id, commit) for commit in {left.id: left, right.id: right}.values()]
    heapq.heapify(heap)
    while heap:
        _, commit_id, commit = heapq.heappop(heap)
        sides = reached[commit_id]
        if sides == 3:  # both bits
            return commit
        for parent_id in commit.parents:
            if parent_id not in reached:
                reached[parent_id] = 0
                parent = find(parent_id)
                heapq.heappush(heap, (-parent.generation, parent_id, parent))
            reached[parent_id] |= sides
    return None
