"""Tables of one database are begun in an order in which none waits for one that has not begun."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pyarrow as pa
import pytest

from include.ingestion.batch import _Awaited, _queue
from include.ingestion.contracts import ContractError
from include.sources.retail import SOURCE

TARGET = ("products", "product_id")


def test_a_table_comes_after_what_it_refers_to_and_before_those_that_nobody_waits_for():
    names = [table.name for table in _queue(SOURCE, "retail")]
    assert names[:3] == ["products", "transactions", "coupons"]
    assert sorted(names) == sorted(table.name for table in SOURCE.tables_of("retail"))


def test_who_asks_for_values_waits_until_their_table_is_landed():
    known, asked = _Awaited(), Event()

    def land():
        assert asked.wait(10)
        known[TARGET] = pa.nulls(3, pa.int32())

    with ThreadPoolExecutor(2) as workers:
        known.landings["products"] = workers.submit(land)
        waiting = workers.submit(known.__getitem__, TARGET)
        assert not waiting.done()
        asked.set()
        assert len(waiting.result(10)) == 3


def test_where_their_table_is_refused_who_waits_gets_the_same_error():
    known = _Awaited()

    def land():
        raise ContractError("products: column 'brand' has no value", remedy="Mend it.")

    with ThreadPoolExecutor(1) as workers:
        known.landings["products"] = workers.submit(land)
    with pytest.raises(ContractError, match="brand"):
        known[TARGET]
