"""The server held to its own OpenAPI document by schemathesis: no 5xx, nothing undocumented."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.conftest import Server

pytestmark = pytest.mark.ray

# Requests for each operation; a longer run is a matter of this number.
EXAMPLES = 60


@pytest.mark.parametrize(
    "name", ["POST /v1/tags", "POST /v1/tags:batch", "GET /v1/model", "POST /v1/explanations"]
)
def test_every_answer_is_one_that_the_document_has(server: Server, name: str) -> None:
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = {each.ok().label: each.ok() for each in document.get_all_operations()}
    assert name in operations
    assert len(operations) == 4

    @given(case=operations[name].as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def hold(case: Any) -> None:
        # Bytes are all that the document can ask for, and not all bytes are images.
        case.call_and_validate(timeout=60, excluded_checks=[positive_data_acceptance])

    hold()
