"""The order of the data is a function of the seed, batches keep their length, and what is replayed takes turns."""

from itertools import islice

import pytest

from ml_backend.models.manifest import WindowPolicy
from training.runs.batches import Order
from training.runs.workspace import Row
from training.trainers.asr.training_windows import PlannedBatches

SHORT = WindowPolicy(max_s=8.0, margin_s=0.2, max_padding_s=0.6)


def rows(new: int = 50, replay: int = 0) -> list[Row]:
    parts = [("new", n) for n in range(new)] + [("replay", n) for n in range(replay)]
    return [
        Row(f"{part}{n}", "text", "en", 0, 8000 + 1600 * (n * 7 % 40), "train", part, f"s{n % 4}") for part, n in parts
    ]


def order(**changed) -> Order:
    return Order(**{"rows": rows(), "seed": 3, "batch_s": 30.0, "window": SHORT, **changed})


@pytest.mark.parametrize("start", [1, 7, 23])
def test_a_run_that_goes_on_reads_what_an_unbroken_one_would_read(start):
    unbroken = list(islice(PlannedBatches(order(several_share=0.3)), 40))
    assert list(islice(PlannedBatches(order(several_share=0.3), start), 40 - start)) == unbroken[start:]


def test_another_seed_is_another_order_and_every_epoch_is_a_new_one():
    assert order().epoch(0) != order(seed=4).epoch(0)
    assert order().epoch(0) != order().epoch(1)


def test_an_epoch_has_every_new_row_once_and_batches_keep_their_budget():
    batches = order().epoch(0)
    assert sorted(pick.rows[0] for batch in batches for pick in batch) == list(range(50))
    assert all(len(batch) * max(map(order().padded_s, batch)) <= 30.0 for batch in batches if len(batch) > 1)


def test_windows_of_a_published_whisper_count_with_the_30_s_they_are_padded_to():
    padded = order(batch_s=240.0, window=WindowPolicy.stock()).epoch(0)
    assert max(map(len, padded)) == 8
    assert max(len(batch) for batch in order(batch_s=10.0, window=WindowPolicy.stock()).epoch(0)) == 1


def test_phrases_share_a_window_only_when_the_decoder_can_write_them_all():
    crowded = order(several_share=1.0, labels=[30] * 50, most_labels=70)
    assert max(len(pick.rows) for batch in crowded.epoch(0) for pick in batch) == 2


def test_rows_of_one_batch_are_of_similar_length():
    def padding(batches):
        return sum(max(p.duration_s for p in b) * len(b) - sum(p.duration_s for p in b) for b in batches)

    assert padding(order().epoch(0)) < 0.25 * sum(row.duration_s for row in rows())


def test_replayed_rows_are_their_share_and_all_of_them_get_a_turn():
    mixed = order(rows=rows(50, 100), replay_share=0.5)
    seen: set[int] = set()
    for number in range(2):
        firsts = [pick.rows[0] for batch in mixed.epoch(number) for pick in batch]
        old = {first for first in firsts if first >= 50}
        assert len(old) == 50
        seen |= old
    assert len(seen) == 100


def test_phrases_in_one_window_are_of_one_speaker_and_fit_into_it():
    shared = order(several_share=1.0)
    several = [pick for batch in shared.epoch(0) for pick in batch if len(pick.rows) > 1]
    assert several
    assert all(pick.duration_s <= 8.0 for pick in several)
    assert all(len({shared.rows[n].speaker for n in pick.rows}) == 1 for pick in several)
