"""The table of faults is complete, what it names exists, and no fail point stands in the product without a test."""

from __future__ import annotations

import ast

from tests.faults import table


def test_every_fault_is_met_by_a_test_or_said_not_to_be():
    missing = [number for number in table.NUMBERS if not table.here().get(number) and number not in table.TABLE]
    assert missing == sorted(table.UNMET)


def test_every_test_the_table_names_exists():
    for test in table.elsewhere():
        file, _, rest = test.partition("::")
        names = [each.partition("[")[0] for each in rest.split("::")]
        body = ast.parse((table.ROOT / file).read_text()).body
        for name in names:
            found = [node for node in body if getattr(node, "name", "") == name]
            assert found, test
            body = getattr(found[0], "body", [])
