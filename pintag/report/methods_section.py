"""The section about methods: how figures were computed, with sources, and the configuration."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from pintag.report.view import BulletList, Code, Paragraph, Section

_METHODS = BulletList(
    (
        "Settings are chosen by their accuracy on the validation split. The winner is chosen by"
        " that accuracy and by cross-validation on the training and validation images. Nothing is"
        " chosen by the test split.",
        "Intervals of accuracy, recall and the bins of a reliability diagram are 95 % Wilson"
        " intervals: E. B. Wilson, “Probable inference, the law of succession, and statistical"
        " inference”, JASA 22 (1927).",
        "Intervals of macro-F1 and of the expected calibration error are 95 % percentile bootstrap"
        " intervals over the images: B. Efron, “Bootstrap methods: another look at the jackknife”,"
        " Annals of Statistics 7 (1979).",
        "Two models are compared on the same test images by McNemar's exact test:"
        " Q. McNemar, “Note on the sampling error of the difference between correlated"
        " proportions or percentages”, Psychometrika 12 (1947).",
        "The expected calibration error is defined by C. Guo, G. Pleiss, Y. Sun and K. Q."
        " Weinberger, “On calibration of modern neural networks”, ICML 2017.",
        "The colours of the charts are those of M. Okabe and K. Ito, which people with any colour"
        " vision can distinguish. Markers show the kind of a model as well.",
    )
)


def section(config: Mapping[str, object]) -> Section:
    """Methods with their sources, and the configuration of the study as YAML."""
    if not config:
        return Section("Methods", "methods", (_METHODS,))
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=90)
    return Section(
        "Methods", "methods", (_METHODS, Paragraph("The configuration of the study:"), Code(text))
    )
