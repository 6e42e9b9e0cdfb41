"""A person is on one side, always the same one."""

from __future__ import annotations

from training.datasets import splits

ANNA, BERT, COMPANY = f"{'a' * 24}-01", f"{'b' * 24}-02", f"{'c' * 24}-03"


def parties(**known: object) -> splits.Parties:
    values = {
        "audio_sha256": "ab12", "call_sid": "c-1", "from_pseudonym": ANNA, "to_pseudonym": COMPANY,
        "direction": "inbound", "company_number": COMPANY, "company_numbers": frozenset({COMPANY}), **known,
    }  # fmt: skip
    return splits.parties(**values)  # type: ignore[arg-type]


def test_the_same_person_is_one_caller_whoever_called_whom() -> None:
    came_in = parties()
    went_out = parties(call_sid="c-2", from_pseudonym=COMPANY, to_pseudonym=ANNA, direction="outbound")
    assert came_in.group == went_out.group
    assert came_in.caller == went_out.caller
    assert came_in.call != went_out.call


def test_the_direction_decides_where_neither_number_is_known_as_the_companys() -> None:
    unknown = {"company_number": None, "company_numbers": frozenset[str]()}
    assert parties(**unknown).group == f"caller:{ANNA}"
    assert parties(**unknown, direction="outbound").group == f"caller:{COMPANY}"
    assert parties(**unknown, direction=None).group == "call:c-1"


def test_a_masked_number_is_nobody_so_the_call_stands_for_itself() -> None:
    assert parties(from_pseudonym="masked-01").group == "call:c-1"
    assert parties(from_pseudonym=None, call_sid=None).group == "audio:ab12"


def test_no_name_in_a_dataset_holds_a_pseudonym_or_a_call_id() -> None:
    found = parties(call_sid="a-call-id-of-the-provider")
    for name in (found.caller, found.call, found.agent):
        assert ANNA not in name
        assert COMPANY not in name
        assert "provider" not in name


def test_validation_gets_about_a_tenth_of_the_callers_and_the_same_ones_each_time() -> None:
    sides = [splits.side(f"caller:{number}") for number in range(4000)]
    assert sides == [splits.side(f"caller:{number}") for number in range(4000)]
    assert 0.08 < sides.count(splits.VALIDATION) / len(sides) < 0.12
    assert set(sides) == {splits.TRAIN, splits.VALIDATION}
