from include.ingestion.spans import Asked
from include.orchestration.asked import asked, asked_params
from include.sources import SOURCES
from include.spec.reads import Incremental, SqlTable
from include.spec.source import Column, Source, Table

ORDERS = Table(
    name="orders",
    description="One order.",
    read=SqlTable(url="shop_url", incremental=Incremental(cursor="id")),
    columns=(Column(name="id", type="int64"),),
    key=("id",),
)
SHOP = Source(name="shop", owner="s@example.com", description="A shop.", tables=(ORDERS,))


def test_the_form_asks_only_where_a_table_is_read_by_a_cursor():
    assert set(asked_params(SHOP)) == {"full_refresh", "backfill_since", "backfill_until"}
    (retail,) = [source for source in SOURCES if source.name == "retail"]
    assert asked_params(retail) == {}


def test_an_empty_form_asks_for_what_is_new():
    assert asked(None) == asked({name: param.value for name, param in asked_params(SHOP).items()}) == Asked()


def test_what_the_form_says_is_asked_for():
    assert asked({"full_refresh": True}) == Asked(everything=True)
    assert asked({"backfill_since": "2026-01-01", "backfill_until": None}) == Asked(since="2026-01-01")
