"""The plot of a verdict shows both arms and how sure each is, also where they are the same."""

import re

from training.evaluation import report_page, report_plot


def comparison(name, before, now, *, width=0.02):
    def around(rate):
        return [rate, rate - width, rate + width]

    return {
        "kind": "all" if name == "all" else "language", "name": name, "calls": 40, "callers": 30, "words": 1200,
        "before": before, "now": now, "difference": around(now - before), "enough": True,
        "before_between": around(before), "now_between": around(now),
    }  # fmt: skip


def marks(svg, name):
    """The places, as (x, y), of a group of the drawing."""
    group = re.search(rf'<g id="{name}">(.*?)</g>\s*</g>|<g id="{name}">(.*?)</g>', svg, re.DOTALL)
    return group and re.findall(r'(?:x|M|L)[ =]"?([\d.]+)"?[ ]?(?:y=)?"?([\d.]+)', group[0])


def test_both_arms_are_drawn_apart_where_they_are_the_same_and_each_has_its_interval():
    svg = report_plot.svg({"overall": comparison("all", 0.2, 0.2), "slices": [comparison("hi", 0.3, 0.25)]}).decode()
    for place in (0, 1):
        for name in (f"before-{place}", f"now-{place}", f"before-between-{place}", f"now-between-{place}"):
            assert f'id="{name}"' in svg, name
    (before,), (now,) = marks(svg, "before-0")[-1:], marks(svg, "now-0")[-1:]
    assert before[1] != now[1]


def test_an_interval_of_no_width_is_not_drawn_and_the_page_calls_it_too_few():
    narrow = comparison("all", 0.2, 0.2, width=0.0)
    svg = report_plot.svg({"overall": narrow, "slices": []}).decode()
    assert 'id="now-0"' in svg
    assert "between-0" not in svg
    assert (
        report_page._rate({"rates": {"strict": {"wer": [0.2, 0.2, 0.2]}}}, "strict", "wer") == "20.0 % (too few to say)"
    )


def test_a_report_from_before_that_has_no_intervals_of_the_arms_is_drawn():
    old = comparison("all", 0.2, 0.1)
    del old["before_between"], old["now_between"]
    assert b"now-0" in report_plot.svg({"overall": old, "slices": []})
