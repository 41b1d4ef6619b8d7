"""The watermark document: it comes back as it was written, and what is none says why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.lake.errors import BadWatermark
from include.lake.watermark import KINDS, parse_watermark, render_watermark
from include.spec.refs import Position, Watermark

PATH = "raw/retail/_watermark.json"
TEXT = st.text(min_size=1, max_size=20)
POSITIONS = st.dictionaries(
    st.text(max_size=10), st.tuples(st.sampled_from(KINDS), TEXT), min_size=1, max_size=5
).map(lambda found: tuple(Position(kind, value, table) for table, (kind, value) in sorted(found.items())))


@given(source=TEXT, positions=POSITIONS, run_id=TEXT)
def test_a_watermark_comes_back_as_it_was_written(source, positions, run_id):
    watermark = Watermark(source, positions, run_id)
    document = render_watermark(watermark)
    assert parse_watermark(document, PATH) == watermark
    assert render_watermark(Watermark(source, positions[::-1], run_id)) == document


POSITION = {"table": "", "kind": "lsn", "value": "0/16B3748"}
GOOD = {"version": 1, "source": "retail", "run_id": "run-1", "positions": [POSITION]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2"),
        ({"version": "1"}, "version '1'"),
        ({"source": 3}, "source 3"),
        ({"run_id": None}, "run_id None"),
        ({"positions": {}}, "no list `positions`"),
        ({"positions": []}, "no positions"),
        ({"positions": ["0/1"]}, "the position '0/1'"),
        ({"positions": [POSITION | {"kind": "offset"}]}, "one of lsn, cursor, files, snapshot"),
        ({"positions": [POSITION | {"value": 7}]}, "value 7"),
        ({"positions": [POSITION | {"value": ""}]}, "no value"),
        ({"positions": [POSITION, POSITION]}, "two positions for one table"),
    ],
)
def test_a_field_that_is_wrong_is_named(change, said):
    assert parse_watermark(json.dumps(GOOD).encode(), PATH).source == "retail"
    with pytest.raises(BadWatermark) as caught:
        parse_watermark(json.dumps(GOOD | change).encode(), PATH)
    assert said in str(caught.value)
    assert PATH in str(caught.value)
    assert "Accepted: " in str(caught.value)


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"null"])
def test_what_is_no_document_is_one_clear_error(document):
    with pytest.raises(BadWatermark, match=PATH):
        parse_watermark(document, PATH)
