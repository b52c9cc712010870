"""Gateways and Ingresses let every request of the settings pass: large bodies, slow clients."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import chart
from tests.k8s.rendering import Object, helm, one, refusal

pytestmark = helm

INGRESS = ("--set=ingress.enabled=true", "--set=ingress.hosts={tags.example.com}")
BODY_SIZE = "nginx.ingress.kubernetes.io/proxy-body-size"


def annotations(*options: str) -> Object:
    found: Object = one("Ingress", "kind", *INGRESS, *options)["metadata"]["annotations"]
    return found


def test_an_ingress_lets_the_largest_body_and_the_slowest_request_pass() -> None:
    assert annotations() == {
        BODY_SIZE: str(64 * 2**20),
        "nginx.ingress.kubernetes.io/proxy-read-timeout": "75",
        "nginx.ingress.kubernetes.io/proxy-send-timeout": "75",
        "haproxy.org/timeout-server": "75s",
        "haproxy-ingress.github.io/timeout-server": "75s",
    }


def test_the_annotations_of_an_ingress_follow_the_settings() -> None:
    found = annotations(
        "--set=settings.classifier.images.max_request_bytes=300000000",
        "--set-json=settings.explainer.images.body_timeout_s=90.5",
    )
    assert found[BODY_SIZE] == "300000000"
    assert found["haproxy.org/timeout-server"] == "106s"


def test_the_users_annotations_of_an_ingress_go_first() -> None:
    name = BODY_SIZE.replace(".", "\\.")
    found = annotations(
        f"--set-string=ingress.annotations.{name}=8m", "--set=commonAnnotations.a=b"
    )
    assert (found[BODY_SIZE], found["a"]) == ("8m", "b")
    assert found["haproxy.org/timeout-server"] == "75s"


@pytest.mark.parametrize("way_in", ["httpRoute", "ingress"])
def test_an_upgrade_by_kuberays_route_has_no_other_way_in(way_in: str) -> None:
    """Others would send requests to the old cluster, while KubeRay takes its pods away."""
    options = (
        "--set=kuberay.upgrade.type=NewClusterWithIncrementalUpgrade",
        "--set=kuberay.upgrade.gatewayClassName=public",
    )
    assert one("RayService", "kind", *options)
    assert "set httpRoute.enabled=false" in refusal(
        "kind", *options, f"--set={way_in}.enabled=true"
    )


def notes(folder: Path, example: str, *options: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What helm prints after an installation: `helm template` leaves it out, so it is an object."""
    copy = folder / "chart"
    shutil.copytree(chart.CHART, copy)
    text = (copy / "templates/NOTES.txt").read_text(encoding="utf-8")
    lines = ["apiVersion: v1", "kind: Notes", "metadata: { name: notes }", "text: |", "  ."]
    lines += [f"  {line}" for line in text.splitlines()]
    (copy / "templates/notes.yaml").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(chart, "CHART", copy)
    rendered = chart.rendered(copy / f"examples/{example}.yaml", *options)
    return rendered.partition("kind: Notes")[2].partition("\n---")[0]


@pytest.mark.parametrize(
    ("example", "options", "is_keyed", "is_only_refused"),
    [
        ("kind", (), False, False),
        ("cpu", (), True, True),
        ("cpu", ("--set=tests.keySecretName=key",), True, False),
    ],
)
def test_the_notes_tag_a_picture_with_a_key_if_one_is_needed(
    example: str,
    options: tuple[str, ...],
    is_keyed: bool,
    is_only_refused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = notes(tmp_path, example, *options, monkeypatch=monkeypatch)
    assert "curl " in found
    assert ("Authorization: Bearer $KEY" in found) == is_keyed
    assert ("that the upload is refused" in found) == is_only_refused
