"""One model of a study, told of without saying more than was found."""

from __future__ import annotations

import pytest

from pintag import portrait
from pintag.sketchbook import Sketchbook
from tests.pintag import studies


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([[17, 3], [2, 18]], "; the commonest mistake is dogs for cats, 3 times."),
        ([[18, 2], [2, 18]], "; one of the commonest mistakes is dogs for cats, 2 times."),
        ([[19, 1], [0, 20]], "; no mistake was made twice."),
        ([[20, 0], [0, 20]], "40 of 40 images are right."),
    ],
)
def test_a_mistake_is_the_commonest_only_if_it_is(counts: list[list[int]], told: str) -> None:
    picture = portrait.confusion("file", "one", counts, studies.LABELS, Sketchbook())
    assert picture.caption.endswith(told)
    assert picture.alt.endswith(told)


def test_a_model_that_failed_has_its_reason_and_no_pictures() -> None:
    book = Sketchbook()
    blocks = list(portrait.section(studies.failed("one", "lost"), studies.LABELS, "1", "m1", book))
    assert "lost" in str(blocks)
    assert book.files == {}
