"""Which transaction each message belongs to, and its place in it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ingestion.pgoutput.errors import broken
from include.ingestion.pgoutput.wire import Wire

_BEGIN, _COMMIT, _MESSAGE, _RELATION = ord("B"), ord("C"), ord("M"), ord("R")
_COUNTED = np.zeros(256, np.bool_)
_COUNTED[[ord(tag) for tag in "IUDT"]] = True
_BEGIN_BYTES, _COMMIT_BYTES = 21, 26
# Microseconds from 1970 to PostgreSQL's epoch, 2000.
EPOCH_US = 946_684_800_000_000

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Open:
    """A transaction that goes on in the next batch."""

    commit_lsn: int
    committed_us: int
    transaction_id: int
    next_sequence: int


@dataclass(frozen=True)
class Placed:
    """The messages of a batch in their transactions.

    Args:
        wanted: Which messages count: those of transactions that were not read before, shape (n,).
        committed: Position behind the last complete transaction of the stream, None before the first.
        within_transaction: Whether the last transaction goes on in the next batch.
        number: Transaction of each message, shape (n,), a row of `begins`; -1 before the first.
        sequence: Place of each change in its transaction, shape (n,).
        begins: Commit position, commit time in microseconds and id of each transaction, three of shape (t,).
    """

    wanted: npt.NDArray[np.bool_]
    committed: int | None
    within_transaction: bool
    number: Int64s
    sequence: Int64s
    begins: tuple[Int64s, Int64s, Int64s]

    def columns(self, rows: npt.NDArray[np.intp]) -> list[pa.Array]:
        """The columns `commit_lsn`, `sequence`, `transaction_id`, `committed_at` of some messages."""
        number = self.number[rows]
        commit_lsns, times, ids = (values[number] for values in self.begins)
        committed_at = pa.array(times).view(pa.timestamp("us", tz="UTC"))
        return [pa.array(commit_lsns), pa.array(self.sequence[rows]), pa.array(ids), committed_at]


class Transactions:
    """Follows the transactions of one stream.

    Args:
        after: Transactions that committed before this position do not count.
    """

    def __init__(self, after: int) -> None:
        self._after = after
        self._open: _Open | None = None
        self._committed: int | None = None

    def place(self, wire: Wire, tags: npt.NDArray[np.uint8]) -> Placed:
        """Place the next messages.

        Raises:
            ProtocolError: Begin and Commit do not alternate, or a change is outside of both.
        """
        carried = self._open
        opened = 0 if carried is None else 1
        begins, commits = tags == _BEGIN, tags == _COMMIT
        started = np.cumsum(begins) + opened
        self._check(wire, tags, started - np.cumsum(commits))
        heads = self._heads(wire, np.flatnonzero(begins), carried)
        number = started - 1
        wanted = self._wanted(heads[0], number)
        sequence = self._sequences(tags, begins, number, carried)
        last = np.flatnonzero(commits)[-1:]
        if len(last):
            self._committed = int(wire.int64(wire.starts[last] + np.int32(10))[0])
        self._open = None
        if len(heads[0]) > int(commits.sum()):
            following = int(sequence[-1]) + int(_COUNTED[tags[-1]]) if len(tags) else 0
            if carried is not None and not len(tags):
                following = carried.next_sequence
            lsn, time_us, transaction = (int(values[-1]) for values in heads)
            self._open = _Open(lsn, time_us, transaction, following)
        return Placed(wanted, self._committed, self._open is not None, number, sequence, heads)

    def _check(self, wire: Wire, tags: npt.NDArray[np.uint8], depth: Int64s) -> None:
        sizes = wire.ends - wire.starts
        if (sizes[tags == _BEGIN] != _BEGIN_BYTES).any() or (sizes[tags == _COMMIT] != _COMMIT_BYTES).any():
            raise broken("a Begin or Commit has not its length")
        inside = (depth == 1) | (tags == _COMMIT) | (tags == _MESSAGE)
        if ((depth < 0) | (depth > 1)).any() or not inside.all():
            raise broken("a change lies outside of a transaction, or one transaction within another")

    @staticmethod
    def _heads(
        wire: Wire, begins: npt.NDArray[np.intp], carried: _Open | None
    ) -> tuple[Int64s, Int64s, Int64s]:
        at = wire.starts[begins]
        lsns, times = wire.int64(at + np.int32(1)), wire.int64(at + np.int32(9)) + EPOCH_US
        ids = wire.uint32(at + np.int32(17))
        if carried is not None:
            lsns = np.concatenate([[carried.commit_lsn], lsns])
            times = np.concatenate([[carried.committed_us], times])
            ids = np.concatenate([[carried.transaction_id], ids])
        return lsns, times, ids

    def _wanted(self, commit_lsns: Int64s, number: Int64s) -> npt.NDArray[np.bool_]:
        late = commit_lsns >= self._after
        if late.all():
            return np.ones(len(number), np.bool_)
        # A message before the first transaction belongs to none and counts.
        return np.concatenate([late, [True]])[number]

    @staticmethod
    def _sequences(
        tags: npt.NDArray[np.uint8], begins: npt.NDArray[np.bool_], number: Int64s, carried: _Open | None
    ) -> Int64s:
        counted = _COUNTED[tags]
        before: Int64s = np.cumsum(counted) - counted
        first: Int64s = before[begins]
        if carried is not None:
            first = np.concatenate([[-carried.next_sequence], first])
        placed: Int64s = before - np.concatenate([first, [0]])[number]
        return placed
