"""Values that only held changes tell."""

import pytest

from include.ingestion.owed_values import Owed, OwedError

OWED = Owed({("1",): {"story": ("a",)}, ("2", "é"): {"note": ("b",), "story": ("a", "b")}})


def test_a_document_gives_back_what_it_was_made_of():
    assert Owed.of(OWED.document().encode(), "x").keys == OWED.keys
    assert OWED.document() == Owed(dict(reversed(OWED.keys.items()))).document()


def test_a_value_is_owed_until_all_the_changes_that_tell_it_are_published():
    assert OWED.without({"a"}).keys == {("2", "é"): {"note": ("b",), "story": ("b",)}}
    assert OWED.without({"b"}).keys == {("1",): {"story": ("a",)}, ("2", "é"): {"story": ("a",)}}
    assert OWED.without({"a", "b"}).keys == {}


@pytest.mark.parametrize(
    "document", [b"", b"[]", b'{"version": 2, "keys": []}', b'{"version": 1, "keys": [["1"]]}']
)
def test_a_document_of_another_form_is_refused_by_its_path(document):
    with pytest.raises(OwedError, match=r"_owed\.json cannot be read.*version 1"):
        Owed.of(document, "quarantine/shop/orders/held/_owed.json")
