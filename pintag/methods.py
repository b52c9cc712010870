"""How the figures of a study were made, with the sources of their statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from pintag.document import Block, Code, Heading, Items, Paragraph


def chapter(config: Mapping[str, object]) -> Iterator[Block]:
    """Where the statistics come from, and what the study was asked for."""
    yield Heading("How the figures were made", anchor="methods")
    yield Items(
        (
            "Settings were chosen by accuracy on the validation split, and the winner by that and"
            " by cross-validation on training and validation images; never by the test split.",
            "Intervals of accuracy, recall and the bins of a calibration diagram are Wilson's,"
            " 95 %: E. B. Wilson, “Probable inference, the law of succession, and statistical"
            " inference”, JASA 22 (1927).",
            "Intervals of macro-F1 and ECE are the percentile bootstrap's, 95 %, over the"
            " images: B. Efron, “Bootstrap methods: another look at the jackknife”, Annals of"
            " Statistics 7 (1979).",
            "Two models are compared on the same test images by McNemar's exact test:"
            " Q. McNemar, “Note on the sampling error of the difference between correlated"
            " proportions or percentages”, Psychometrika 12 (1947).",
            "The expected calibration error is that of C. Guo, G. Pleiss, Y. Sun and K. Q."
            " Weinberger, “On calibration of modern neural networks”, ICML 2017.",
            "The charts have the colours of M. Okabe and K. Ito; markers tell families, too.",
        )
    )
    if config:
        yield Paragraph("The study as it was asked for:")
        yield Code(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=90))
