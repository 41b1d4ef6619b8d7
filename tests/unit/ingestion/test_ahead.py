import threading
from contextlib import closing

import pytest

from include.ingestion.ahead import ahead


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_gives_every_item_in_order_and_ends_its_thread():
    assert list(ahead(iter(range(1000)), depth=3)) == list(range(1000))
    assert list(ahead(iter([]))) == []
    assert _threads() == []


def test_makes_items_in_another_thread_while_the_caller_is_busy():
    met = threading.Barrier(2, timeout=10)

    def make():
        yield threading.current_thread()
        met.wait()
        yield threading.current_thread()

    items = ahead(make())
    assert next(items) is not threading.current_thread()
    met.wait()  # only passes if the second item is in making although nobody has asked for it
    assert next(items).name == "ahead"
    assert list(items) == []


def test_makes_no_more_than_fit():
    made = []

    def make():
        for number in range(100):
            made.append(number)
            yield number

    with closing(ahead(make(), depth=2)) as items:
        assert [next(items) for _ in range(3)] == [0, 1, 2]
    # Three were taken, which lets two wait beyond them.
    assert 3 <= len(made) <= 5
    assert _threads() == []


def test_an_error_comes_in_the_place_of_its_item():
    def make():
        yield 1
        raise ValueError("broken off")

    items = ahead(make(), depth=5)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken off"):
        next(items)
    assert list(items) == []
    assert _threads() == []


def test_closing_closes_what_makes_the_items_in_its_own_thread():
    closed = []

    def make():
        try:
            yield from range(100)
        finally:
            closed.append(threading.current_thread().name)

    items = ahead(make())
    assert next(items) == 0
    items.close()
    assert closed == ["ahead"]
    assert _threads() == []


def test_a_caller_that_goes_away_leaves_no_thread():
    closed = []

    def make():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    def take():
        for item in ahead(make()):
            if item == 3:
                raise RuntimeError("the caller broke off")

    with pytest.raises(RuntimeError, match="the caller"):
        take()
    assert closed == [True]
    assert _threads() == []
