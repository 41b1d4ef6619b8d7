"""A batch of binary messages as numpy sees it: bytes, and big-endian integers at any offset."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ingestion.pgoutput.errors import broken

Ints = npt.NDArray[np.int32]
# Reading an integer at the last byte stays within the buffer.
_PADDING = 16
LONGEST_BYTES = 2**31 - 64


@dataclass(frozen=True)
class Wire:
    """Messages one after the other in one buffer.

    Args:
        data: Their bytes, with padding behind.
        starts: Where each begins, shape (n,).
        ends: Where each ends, shape (n,); the next one begins there.
    """

    data: npt.NDArray[np.uint8]
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, messages: pa.Array) -> "Wire":
        """The messages of a binary array without nulls.

        Raises:
            ProtocolError: A message is missing or empty.
        """
        assert messages.type == pa.binary(), messages.type
        if messages.null_count:
            raise broken(f"{messages.null_count} messages are NULL")
        count, first = len(messages), messages.offset
        _, offsets_buffer, data_buffer = messages.buffers()
        if count == 0:
            return cls(np.zeros(_PADDING, np.uint8), np.zeros(0, np.int32), np.zeros(0, np.int32))
        offsets = np.frombuffer(offsets_buffer, np.int32)[first : first + count + 1]
        begin, end = int(offsets[0]), int(offsets[-1])
        size = end - begin
        assert size < LONGEST_BYTES, size
        data = np.zeros(size + _PADDING, np.uint8)
        if size:
            data[:size] = np.frombuffer(data_buffer, np.uint8)[begin:end]
        offsets = offsets - np.int32(begin)
        if (offsets[1:] == offsets[:-1]).any():
            raise broken("a message is empty")
        return cls(data, offsets[:-1], offsets[1:])

    def byte(self, at: Ints) -> npt.NDArray[np.uint8]:
        """The byte at each place."""
        return self.data[at]

    def int16(self, at: Ints) -> npt.NDArray[np.int64]:
        """The signed 16-bit integer at each place."""
        return self._view(">i2", 2)[at].astype(np.int64)

    def int32(self, at: Ints) -> Ints:
        """The signed 32-bit integer at each place."""
        return self._view(">i4", 4)[at].astype(np.int32)

    def uint32(self, at: Ints) -> npt.NDArray[np.int64]:
        """The unsigned 32-bit integer at each place."""
        return self._view(">u4", 4)[at].astype(np.int64)

    def int64(self, at: Ints) -> npt.NDArray[np.int64]:
        """The 64-bit integer at each place."""
        return self._view(">i8", 8)[at].astype(np.int64)

    def message(self, index: int) -> bytes:
        """All bytes of one message."""
        return self.data[self.starts[index] : self.ends[index]].tobytes()

    def _view(self, kind: str, width: int) -> npt.NDArray[np.generic]:
        """The buffer as integers that overlap: one begins at every byte."""
        shape = (len(self.data) - width + 1,)
        return np.ndarray(shape, dtype=np.dtype(kind), buffer=self.data, strides=(1,))
