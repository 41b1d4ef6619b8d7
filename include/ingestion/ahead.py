"""Work that goes on while the caller is busy with what came before: reading beside decoding beside writing.

Arrow, numpy and the database drivers let other threads run while they work, so a chain of such steps takes as
long as its slowest one instead of the sum of all.
"""

import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import TypeVar, cast

T = TypeVar("T")
_END = object()


def ahead(items: Iterator[T], *, depth: int = 1) -> Generator[T]:
    """The same items in the same order, made by another thread, at most `depth` of them before their turn.

    What the making of an item raises is raised here in its place. The thread has ended, and has closed
    `items`, when this generator ends, is closed or is forgotten; an item that is in making is made first.

    Args:
        items: Made in the other thread only.
        depth: How many items may wait; memory is that of as many, and of the one in making.
    """
    made: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()
    room = threading.Semaphore(depth)
    left = threading.Event()
    arguments = (items, made, room, left)
    maker = threading.Thread(target=_make, args=arguments, name="ahead", daemon=True)
    maker.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is _END:
                return
            room.release()
            yield cast(T, item)
            # Held on to, it would be one more in memory while the next is waited for.
            del item
    finally:
        left.set()
        room.release()
        maker.join()


def _make(
    items: Iterator[T],
    made: "SimpleQueue[tuple[object, BaseException | None]]",
    room: threading.Semaphore,
    left: threading.Event,
) -> None:
    try:
        try:
            while True:
                room.acquire()
                if left.is_set():
                    break
                item = next(items, _END)
                made.put((item, None))
                if item is _END:
                    break
                del item
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for the item
        made.put((None, error))
