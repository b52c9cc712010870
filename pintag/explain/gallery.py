"""The gallery of a pick: one HTML file with all pictures inside, which needs no network."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from pintag.core import formatting
from pintag.data.labels import Labels
from pintag.explain import style
from pintag.explain.gallery_view import GalleryImage, ViewBuilder
from pintag.explain.sp_lime import Pick
from pintag.models.identity import Model

_TEMPLATE = "gallery.html"


def render(subjects: Sequence[GalleryImage], picked: Pick, labels: Labels, model: Model) -> str:
    """The page as HTML; `picked` is the result of `sp_lime.pick` for these explanations."""
    view = ViewBuilder(subjects, picked, labels, model).build()
    return _environment().get_template(_TEMPLATE).render(view=view)


def _covered(share: float) -> str:
    """A percentage that is 0 % or 100 % only if the share is exactly that."""
    exact = round(share, 9)
    if exact in (0, 1):
        return f"{exact:.0%}".replace("%", "\u00a0%")
    return formatting.percent(share)


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in colour)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pintag.explain", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": formatting.percent, "covered": _covered}
    environment.globals |= {
        "count": formatting.count,
        "evidence_for": _hex(style.FOR),
        "evidence_against": _hex(style.AGAINST),
    }
    return environment
