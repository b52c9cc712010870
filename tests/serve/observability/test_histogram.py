"""The histogram: its counts are cumulative, its sum is exact, and threads may share it."""

from concurrent.futures import ThreadPoolExecutor

from pintag.serve.observability.histogram import Histogram


def test_counts_are_cumulative_and_the_sum_is_exact() -> None:
    histogram = Histogram([0.5, 1, 2])

    for value in (0.25, 0.5, 1.5, 7):
        histogram.observe(value)

    assert histogram.read() == ({"0.5": 2, "1.0": 2, "2.0": 3, "+Inf": 4}, 9.25)


def test_a_new_histogram_has_all_buckets_and_they_are_empty() -> None:
    assert Histogram([1]).read() == ({"1.0": 0, "+Inf": 0}, 0)


def test_no_value_is_lost_between_threads() -> None:
    histogram = Histogram([1])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(histogram.observe, [1] * 20_000))

    assert histogram.read() == ({"1.0": 20_000, "+Inf": 20_000}, 20_000)


def test_a_value_may_count_several_times() -> None:
    histogram = Histogram([1])
    histogram.observe(0.25, 4)
    histogram.observe(2)
    assert histogram.read() == ({"1.0": 4, "+Inf": 5}, 3)
