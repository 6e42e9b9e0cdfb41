"""Two lists of phrases -> both texts as number-canonical@2 compares them. Pure.

A wrong word inside a number splits it: nine eight seven six, and nine eight book six. So each number is read whole or
word by word, whichever makes the fewest edits; other numbers are not affected. A long number in one piece equals the
same number in groups.
"""

from __future__ import annotations

from collections.abc import Sequence

from training.text import distance
from training.text.numerals import NumberPhrase

SPLIT_DIGITS = 5  # shorter groups may be separate numbers: ten twelve people are not 1012
_MOST_CELLS = 400_000  # for a larger table, the whole text is read one way or the other

Edge = tuple[int, tuple[str, ...]]  # (target place, its words)


def agree(expected: Sequence[NumberPhrase], recognised: Sequence[NumberPhrase]) -> tuple[str, str]:
    """Both texts, with each number in the reading that makes the fewest edits."""
    recognised = _together(recognised, expected)
    expected = _together(expected, recognised)
    head, tail = _same_ends(expected, recognised)
    before = _read(expected[:head])
    after = _read(expected[len(expected) - tail :])
    middle = expected[head : len(expected) - tail], recognised[head : len(recognised) - tail]
    in_digits = any(one.read != one.said for side in middle for one in side)
    texts = _fewest(*middle) if in_digits else (_read(middle[0]), _read(middle[1]))
    return " ".join([*before, *texts[0], *after]), " ".join([*before, *texts[1], *after])


def _read(phrases: Sequence[NumberPhrase]) -> list[str]:
    return [word for phrase in phrases for word in phrase.read]


def _said(phrases: Sequence[NumberPhrase]) -> list[str]:
    return [word for phrase in phrases for word in phrase.said]


def _together(phrases: Sequence[NumberPhrase], others: Sequence[NumberPhrase]) -> list[NumberPhrase]:
    """Join groups of digits that are one number in the other text."""
    whole = {one.read[0] for one in others if one.number and len(one.read[0]) >= SPLIT_DIGITS and one.read[0].isdigit()}
    found = list(phrases)
    if not whole:
        return found
    place = 0
    while place < len(found):
        digits, at = "", place
        while at < len(found) and found[at].number and len(found[at].read) == 1 and found[at].read[0].isdigit():
            digits, at = digits + found[at].read[0], at + 1
            if digits in whole and at - place > 1 and not all(map(_is_amount, found[place:at])):
                said = tuple(_said(found[place:at]))
                found[place:at] = [NumberPhrase(said, (digits,), number=True)]
                break
        place += 1
    return found


def _is_amount(phrase: NumberPhrase) -> bool:
    """500 and 1000 are more likely two amounts than parts of one number."""
    return int(phrase.read[0]) >= 100 and int(phrase.read[0]) % 50 == 0


def _same_ends(one: Sequence[NumberPhrase], other: Sequence[NumberPhrase]) -> tuple[int, int]:
    """(equal phrases at the beginning, equal phrases at the end)."""
    most = min(len(one), len(other))
    head = next((at for at in range(most) if one[at].read != other[at].read), most)
    rest = most - head
    tail = next((at for at in range(rest) if one[-1 - at].read != other[-1 - at].read), rest)
    return head, tail


def _edges(phrases: Sequence[NumberPhrase]) -> list[list[Edge]]:
    """The outgoing edges of each place between words."""
    edges: list[list[Edge]] = []
    for phrase in phrases:
        at = len(edges)
        words: list[list[Edge]] = [[(at + step + 1, (word,))] for step, word in enumerate(phrase.said)]
        if phrase.read != phrase.said:
            words[0].insert(0, (at + len(phrase.said), phrase.read))
        edges += words
    return [*edges, []]


def _fewest(expected: Sequence[NumberPhrase], recognised: Sequence[NumberPhrase]) -> tuple[list[str], list[str]]:
    mine, theirs = _edges(expected), _edges(recognised)
    if len(mine) * len(theirs) > _MOST_CELLS:
        read, said = (_read(expected), _read(recognised)), (_said(expected), _said(recognised))
        return read if distance.between(*read) <= distance.between(*said) else said
    width = len(theirs)
    costs = [float("inf")] * (len(mine) * width)
    came: list[tuple[int, tuple[str, ...], tuple[str, ...]] | None] = [None] * len(costs)
    costs[0] = 0
    for i, ways in enumerate(mine):
        for j, other_ways in enumerate(theirs):
            cell = i * width + j
            cost = costs[cell]
            for i_after, words in ways:
                for j_after, others in other_ways:
                    apart = words != others and distance.between(words, others)
                    to = i_after * width + j_after
                    if cost + apart < costs[to]:
                        costs[to], came[to] = cost + apart, (cell, words, others)
                to = i_after * width + j
                if cost + len(words) < costs[to]:
                    costs[to], came[to] = cost + len(words), (cell, words, ())
            for j_after, others in other_ways:
                to = i * width + j_after
                if cost + len(others) < costs[to]:
                    costs[to], came[to] = cost + len(others), (cell, (), others)
    texts: tuple[list[str], list[str]] = [], []
    step = came[-1]
    while step is not None:
        cell, words, others = step
        texts[0][:0], texts[1][:0] = words, others
        step = came[cell]
    return texts
