"""Ray Serve on Kubernetes imports builders of applications by paths that the chart contains."""

from __future__ import annotations

import importlib
import re

import pytest

from scripts import chart

PATHS = re.findall(
    r'"import_path" "([^"]+)"', (chart.CHART / "templates/_settings.tpl").read_text("utf-8")
)


def test_the_chart_has_every_application() -> None:
    assert len(PATHS) == 5


@pytest.mark.ray
@pytest.mark.parametrize("path", PATHS)
def test_what_ray_serve_imports_exists(path: str) -> None:
    module, _, builder = path.partition(":")
    assert callable(getattr(importlib.import_module(module), builder))
