"""Each test of lakefs-spec 0.15.1, by its own name, on both blockstores."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(500)]

INVENTORY = (Path(__file__).parent / "inventory.txt").read_text(encoding="utf-8").splitlines()


def test_the_inventory_is_complete(outcomes):
    assert len(INVENTORY) == 124
    assert sorted(outcomes) == sorted(INVENTORY)


@pytest.mark.parametrize("name", INVENTORY)
def test_passes(outcomes, name):
    outcome = outcomes[name]
    assert outcome.state == "passed", outcome.said
