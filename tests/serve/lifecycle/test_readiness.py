"""The application that runs last: when clients can reach the others."""

from __future__ import annotations

import pytest
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    ProxyStatus,
    ServeStatus,
)

from pintag.serve.lifecycle import readiness

RUNNING, HEALTHY = ApplicationStatus.RUNNING, ProxyStatus.HEALTHY


def status(proxies: list[ProxyStatus], **applications: ApplicationStatus) -> ServeStatus:
    """What Ray Serve reports; this application itself is still being deployed."""
    states = {**applications, readiness.READINESS: ApplicationStatus.DEPLOYING}
    return ServeStatus(
        proxies={str(number): each for number, each in enumerate(proxies)},
        applications={
            name: ApplicationStatusOverview(each, "", 0, {}) for name, each in states.items()
        },
    )


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (status([HEALTHY], classifier=RUNNING), True),
        (status([HEALTHY, HEALTHY], classifier=RUNNING, explainer=RUNNING), True),
        (status([HEALTHY]), False),
        (status([HEALTHY], explainer=RUNNING), False),
        (status([HEALTHY], classifier=ApplicationStatus.DEPLOYING), False),
        (
            status([HEALTHY], classifier=RUNNING, explainer=ApplicationStatus.DEPLOY_FAILED),
            False,
        ),
        (status([HEALTHY, ProxyStatus.STARTING], classifier=RUNNING), False),
        (status([], classifier=RUNNING), False),
    ],
)
def test_every_application_runs_and_every_proxy_answers(
    reported: ServeStatus, expected: bool
) -> None:
    assert readiness.is_reachable(reported) is expected


def test_it_waits_until_that_has_been_so_for_five_seconds() -> None:
    good, bad = status([HEALTHY], classifier=RUNNING), status([], classifier=RUNNING)
    reported = [bad] * 3 + [good] * 9 + [bad] + [good] * 20
    pauses: list[float] = []
    readiness.wait(lambda: reported[len(pauses) - 1], pauses.append)
    assert sum(pauses) == 0.5 * (3 + 9 + 1 + 10)


def test_it_runs_on_the_head_and_reserves_no_processor() -> None:
    options = readiness.Readiness.ray_actor_options
    assert options["num_cpus"] == 0
    assert [*options["resources"]] == ["node:__internal_head__"]
