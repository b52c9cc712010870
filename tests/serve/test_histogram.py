from concurrent.futures import ThreadPoolExecutor

from serve.histogram import Histogram


def test_counts_what_is_at_most_each_bound_and_says_what_it_adds_up_to() -> None:
    histogram = Histogram([0.5, 1, 2])

    for value in (0.25, 0.5, 1.5, 7):
        histogram.observe(value)

    assert histogram.read() == ({"0.5": 2, "1.0": 2, "2.0": 3, "+Inf": 4}, 9.25)


def test_before_the_first_value_every_bucket_is_there_and_empty() -> None:
    assert Histogram([1]).read() == ({"1.0": 0, "+Inf": 0}, 0)


def test_no_value_is_lost_between_threads() -> None:
    histogram = Histogram([1])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(histogram.observe, [1] * 20_000))

    assert histogram.read() == ({"1.0": 20_000, "+Inf": 20_000}, 20_000)
