"""How captured changes that are held apart are told."""

from typing import Any

from include.cli.held_changes import line_of

CHANGE: dict[str, Any] = {
    "id": "a1b2",
    "origin": "0/16B3748",
    "operation": "insert",
    "reason": "quantity must be 1 or more",
    "row": '{"quantity": 0}',
}


def test_a_change_is_told_with_its_place_in_its_transaction():
    told = line_of(CHANGE | {"sequence": 1234, "transaction_id": 771})
    assert told == (
        "a1b2  the log at 0/16B3748, change 1,234 of transaction 771: insert, quantity must be 1 or more\n"
        '    {"quantity": 0}'
    )


def test_a_row_that_was_read_as_the_capture_began_is_of_no_transaction():
    told = line_of(CHANGE | {"operation": "read", "sequence": None, "transaction_id": None})
    assert "the log at 0/16B3748, as it began: read, quantity must be 1 or more" in told
