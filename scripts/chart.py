"""Write the generated parts of `k8s/`: `make k8s` runs this.

- `k8s/chart/values.yaml`: at its end the settings of `configs/serve/cluster.yaml`.
- `k8s/chart/values.schema.json`: from `values.yaml` and the server's configuration.
- `k8s/kind`, `k8s/cpu`, `k8s/gpu`: the chart with its examples, for `kubectl apply -k`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from pintag.serve.config import ServeConfig

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "k8s/chart"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
HELM = os.environ.get("HELM", "helm")
# The oldest Kubernetes that the chart supports, so that a rendering depends on no cluster.
KUBE_VERSION = "1.31.0"

Schema = dict[str, Any]
# Objects that Kubernetes validates itself: any key is allowed.
FREE = {"resources", "podSecurityContext", "labels", "nodeSelector", "quota"}
GROUPS, JOBS = ("classifier", "explainer"), ("train", "retrain", "study", "bulk", "load")
STRICTER: dict[str, Schema] = {
    "image.tag": {"type": ["string", "integer"]},
    "image.digest": {"pattern": "^(sha256:[0-9a-f]{64})?$"},
    "bundle.uri": {"minLength": 1},
    "kuberay.upgrade.type": {"enum": ["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]},
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    **{f"{pods}.objectStore": {"pattern": "^[0-9]+[MG]i$"} for pods in ("head", *GROUPS, "jobs")},
    **{f"{pods}.pods.min": {"minimum": 1} for pods in GROUPS},
    **{f"jobs.{job}.run": {"type": ["string", "integer"]} for job in JOBS},
}


def main() -> None:
    (CHART / "values.yaml").write_text(values_with_settings(), encoding="utf-8")
    (CHART / "values.schema.json").write_text(schema(), encoding="utf-8")
    for example in EXAMPLES:
        folder = ROOT / "k8s" / example.stem
        folder.mkdir(exist_ok=True)
        (folder / "pintag.yaml").write_text(rendered(example), encoding="utf-8")


def values_with_settings() -> str:
    """The chart's values, with the settings of cluster.yaml in place of those at their end."""
    head, _, _ = (CHART / "values.yaml").read_text(encoding="utf-8").partition("\nsettings:\n")
    lines = (ROOT / "configs/serve/cluster.yaml").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join([head, "settings:", *(f"  {line}" for line in lines[first:]), ""])


def schema() -> str:
    """The JSON Schema of the values."""
    values = yaml.safe_load(values_with_settings())
    settings = ServeConfig.model_json_schema()
    definitions = {name: _complete(each) for name, each in settings.pop("$defs").items()}
    definitions["HttpConfig"]["properties"]["haproxy"] = {"enum": ["auto", True]}
    del values["settings"]
    result = _schema_of(values, "")
    result["properties"] |= {
        "settings": _complete(settings),
        # Helm gives these to a chart that is part of another one.
        "global": {"type": "object"},
        "enabled": {"type": "boolean"},
    }
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **result}
    return json.dumps({**content, "$defs": definitions}, indent=1) + "\n"


def _schema_of(value: Any, path: str) -> Schema:
    """The schema of a default value: what has this type, and no other keys."""
    name = path.rpartition(".")[2]
    if isinstance(value, dict) and value and name not in FREE:
        properties = {
            key: _schema_of(each, f"{path}.{key}".lstrip(".")) for key, each in value.items()
        }
        return {"type": "object", "properties": properties, "additionalProperties": False}
    names = {dict: "object", list: "array", bool: "boolean", int: "integer", str: "string"}
    return {"type": names[type(value)], **STRICTER.get(path, {})}


def _complete(definition: Schema) -> Schema:
    """A class of the configuration. Helm removes keys that are null, so others must be there."""
    result = _without(definition, {"title", "default"})
    required = [
        name
        for name, each in result["properties"].items()
        if {"type": "null"} not in each.get("anyOf", [])
    ]
    return {**result, "required": required}


def _without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, keys) for key, each in value.items() if key not in keys}
    return [_without(each, keys) for each in value] if isinstance(value, list) else value


def rendered(values: Path, *options: str) -> str:
    """What the chart renders for the release `pintag` in the namespace `pintag`."""
    command = [HELM, "template", "pintag", str(CHART), "--namespace=pintag", "--skip-tests"]
    command += [f"--values={values}", f"--kube-version={KUBE_VERSION}", *options]
    # The command is made of constants and a path of this repository.
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout


if __name__ == "__main__":
    main()
