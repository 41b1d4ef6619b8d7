"""A memory of decoded things, bounded by bytes, that forgets what was used longest ago."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Keeps values until they exceed `capacity_bytes` together; safe under threads."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._held_bytes = 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """Return the value kept under the key, None if there is none."""
        with self._lock:
            held = self._values.get(key)
            if held is None:
                return None
            self._values.move_to_end(key)
            return held[0]

    def put(self, key: Hashable, value: T, size_bytes: int) -> None:
        """Keep a value that takes about `size_bytes`."""
        with self._lock:
            if (replaced := self._values.pop(key, None)) is not None:
                self._held_bytes -= replaced[1]
            self._values[key] = (value, size_bytes)
            self._held_bytes += size_bytes
            while self._held_bytes > self._capacity_bytes:
                _, (_, dropped_bytes) = self._values.popitem(last=False)
                self._held_bytes -= dropped_bytes
