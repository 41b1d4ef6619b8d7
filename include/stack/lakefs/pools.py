"""Where handlers wait for disk and network, so that the event loop never does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

QUICK_THREADS = 24
SLOW_THREADS = 24


class Pools:
    """Two bounded pools of threads.

    Commits and merges may wait for webhooks that call this very server: were there one pool, enough
    of them at once would leave no thread to answer those calls, and all would wait until time ran out.
    """

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(QUICK_THREADS, thread_name_prefix="quick")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="slow")

    async def quick(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what waits for the store alone."""
        assert not kwargs
        return await asyncio.get_running_loop().run_in_executor(self._quick, function, *args)

    async def slow(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what may wait for others."""
        assert not kwargs
        return await asyncio.get_running_loop().run_in_executor(self._slow, function, *args)

    def close(self) -> None:
        """Wait for what runs; drop what has not begun."""
        self._slow.shutdown(wait=True, cancel_futures=True)
        self._quick.shutdown(wait=True, cancel_futures=True)
