"""The table of faults is complete, what it names exists, and no fail point stands in the product without a test."""

from __future__ import annotations

import ast
import re

from tests.faults import guards, table

PRODUCT = ("ml_backend", "sync", "training")


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


def test_every_guard_is_proven_by_a_test_that_names_it():
    assert {guard for _, _, guard in table.guarded()} == set(guards.removals())


def test_every_test_of_a_fault_has_a_guard_or_a_reason_why_nothing_of_ours_can_be_taken_away():
    guarded = {test for _, test, _ in table.guarded()}
    everything = {*table.elsewhere(), *(test for tests in table.here().values() for test in tests)}
    assert sorted(everything - guarded) == sorted(table.NOBODY_GUARDS)
    assert all(sentence.endswith(".") for sentence in table.NOBODY_GUARDS.values())


def test_every_fail_point_of_the_product_is_used_by_a_test():
    placed = re.compile(r'failpoints\.hit\("([^"]+)"\)')
    there = {
        name
        for package in PRODUCT
        for file in (table.ROOT / package).rglob("*.py")
        for name in placed.findall(file.read_text())
    }
    used = "\n".join(file.read_text() for file in (table.ROOT / "tests").rglob("*.py"))
    assert not [name for name in sorted(there) if f'"{name}"' not in used]
