"""The versioned store: repositories of immutable trees of entries, commits over them, branches.

A tree is a two-level, content-addressed sorted map (`ranges`, `tree`): equal trees have equal ids
whatever the order of the edits that led to them, and commit, diff and merge cost what changed,
not what is stored. Everything lives in one SQLite file (`store`); each move of a ref is one
transaction with a compare-and-set, and what was acknowledged is on disk.
"""

from include.stack.lakefs.engine.diffs import Diffs
from include.stack.lakefs.engine.history import History
from include.stack.lakefs.engine.imports import Imports
from include.stack.lakefs.engine.objects import Objects
from include.stack.lakefs.engine.refs import Refs
from include.stack.lakefs.engine.repositories import Repositories
from include.stack.lakefs.engine.retention import Retention


class Engine(Repositories, Refs, Objects, Diffs, History, Imports, Retention):
    """The whole store; thread-safe and synchronous.

    Reads run in parallel, each on a consistent snapshot. Writes of all threads are grouped into
    few transactions and return once they are durable. Nothing here touches the blockstore.
    """


__all__ = ["Engine"]
