"""The text format, read back by a strict reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.scrape import scrape, total, value

from crewcap.gateway.watching.exposition import MOST_SERIES, OTHER, Counter, Histogram, family, text


@given(labels=st.lists(st.tuples(st.text(), st.integers(0, 2**70)), max_size=5, unique_by=lambda pair: pair[0]))
def test_any_label_and_any_whole_number_is_read_back(labels: list[tuple[str, int]]) -> None:
    counter = Counter("a_total", "What it\ncounts \\ exactly.", ("what",))
    for label, number in labels:
        counter.add(label, by=number)
    read = scrape(text(counter.lines()))["a_total"]
    assert {dict(key[1])["what"]: found for key, found in read.samples.items()} == {
        label: float(number) for label, number in labels
    }


@given(times=st.lists(st.floats(0, 1_000)))
def test_buckets_add_up(times: list[float]) -> None:
    histogram = Histogram("b_seconds", "How long.", ("provider",))
    for seconds in times:
        histogram.observe(seconds, "anthropic")
    read = scrape(text(histogram.lines()))
    assert value(read, "b_seconds_count", provider="anthropic") == len(times)
    assert value(read, "b_seconds_sum", provider="anthropic") == pytest.approx(sum(times))
    below = sum(seconds <= 0.25 for seconds in times)
    assert value(read, "b_seconds_bucket", provider="anthropic", le="0.25") == below


def test_a_clock_that_went_back_took_no_time() -> None:
    histogram = Histogram("b_seconds", "How long.")
    histogram.observe(-1.0)
    read = scrape(text(histogram.lines()))
    assert value(read, "b_seconds_sum") == 0
    assert value(read, "b_seconds_bucket", le="0.001") == 1


def test_invented_labels_end_in_one_series() -> None:
    """What a stranger can name must not grow without end, and still be counted."""
    counter, histogram = Counter("a_total", "What.", ("what",)), Histogram("b_seconds", "How long.", ("what",))
    for number in range(MOST_SERIES + 500):
        counter.add(str(number))
        histogram.observe(1.0, str(number))
    counted, timed = scrape(text(counter.lines()))["a_total"], scrape(text(histogram.lines()))["b_seconds"]
    assert len(counted.samples) == MOST_SERIES + 1
    assert total({"a_total": counted}, "a_total") == MOST_SERIES + 500
    assert value({"a_total": counted}, "a_total", what=OTHER) == 500
    assert value({"b_seconds": timed}, "b_seconds_count", what=OTHER) == 500


def test_a_family_without_a_sample_is_still_announced() -> None:
    assert scrape(text(family("c", "gauge", "None yet.", (), ())))["c"].samples == {}


@pytest.mark.parametrize(
    "page",
    [
        b"a 1",
        b"a 1\n",
        b"# HELP a x\n# TYPE a gauge\na{} 1\n",
        b'# HELP a x\n# TYPE a gauge\na{b="1",} 1\n',
        b'# HELP a x\n# TYPE a gauge\na{b="1" } 1\n',
        b"# HELP a x\n# TYPE a gauge\na one\n",
        b"# HELP a x\n# TYPE a gauge\na 1\na 2\n",
        b"# HELP a x\n# TYPE a gauge\nb 1\n",
        b"# HELP a x\n# TYPE a counter\na -1\n",
        b'# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
    ],
)
def test_the_reader_refuses_what_is_not_the_format(page: bytes) -> None:
    """A reader that takes everything proves nothing."""
    with pytest.raises(AssertionError):
        scrape(page)
