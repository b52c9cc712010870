"""Compute what 100, 10,000 and 1,000,000 uploads a second need, from measured figures.

    python -m benchmarks.capacity docs/benchmarks/DATE.json > docs/capacity.md

Every assumption is an option: --megapixels 2, --node-cores 64 and so on.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import table

RATES = (100, 10_000, 1_000_000)


def _assumed(value: float, meaning: str) -> Any:
    return field(default=value, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Assumptions:
    """Figures that were not measured here."""

    megapixels: float = _assumed(0.5, "of an upload, which the app has made smaller")
    utilisation: float = _assumed(0.7, "share of the peak rate at the busiest time")
    cached: float = _assumed(0.0, "share of uploads that are in the cache of answers")
    node_cores: int = _assumed(32, "cores of a node")
    node_gbit: float = _assumed(25.0, "Gbit/s of a node's network, each way")
    proxy_ms: float = _assumed(0.1, "ms of a core that HAProxy needs for a request")
    gpu_images: float = _assumed(20_000.0, "images/s of one GPU; none was available")
    core_hour: float = _assumed(0.04, "dollars for a core and its memory for an hour")
    cell_replicas: int = _assumed(512, "replicas of one cluster: every HAProxy checks all of them")


@dataclass(frozen=True)
class Measured:
    """Figures from a record."""

    cores: int
    peak: float
    """Answers a second, open loop."""
    decoding: Sequence[dict[str, float]]
    """Rows of megapixels, milliseconds and kilobytes."""
    infer_ms: float
    """Milliseconds of one core for the inference of an image."""
    explanation_seconds: float
    """Wall time of one explanation on all cores."""

    def decode_ms(self, megapixels: float) -> float:
        """Milliseconds of one core to decode an image of that size, interpolated linearly."""
        return self._interpolated("ms", megapixels)

    def kilobytes(self, megapixels: float) -> float:
        """The size of such an image in kilobytes, interpolated linearly."""
        return self._interpolated("kilobytes", megapixels)

    def _interpolated(self, name: str, megapixels: float) -> float:
        sizes = [row["megapixels"] for row in self.decoding]
        return float(np.interp(megapixels, sizes, [row[name] for row in self.decoding]))


def measured(record: dict[str, Any]) -> Measured:
    """The figures of a record that the computation needs."""
    engines = record["engines"]["found"]
    fastest = max(row["images_per_second"] for row in engines["engines"].values())
    cores = int(record["overload"]["machine"]["cores"])
    return Measured(
        cores=cores,
        peak=float(record["overload"]["found"]["peak"]),
        decoding=engines["decoding"],
        infer_ms=1000 * cores / fastest,
        explanation_seconds=engines["explanations"]["stable, at most 500"]["seconds"],
    )


@dataclass(frozen=True)
class Need:
    """What a rate of uploads needs."""

    rate: int
    core_ms: float
    """Milliseconds of one core for an upload that is not in the cache."""
    cores: int
    nodes: int
    cells: int
    node_gbit: float
    """Gbit/s in and out of each node; an upload crosses it twice."""
    gpus: int
    gpu_cores: int
    dollars: float
    """For a million uploads."""


def need(rate: int, figures: Measured, assumed: Assumptions) -> Need:
    """Compute what a rate needs."""
    decode = figures.decode_ms(assumed.megapixels)
    # Core time of a small upload at the peak; it includes the client.
    small = 1000 * figures.cores / figures.peak
    core_ms = small + max(0.0, decode - figures.decode_ms(0))
    fresh = rate * (1 - assumed.cached)
    load = (fresh * core_ms + rate * assumed.cached * assumed.proxy_ms) / 1000
    cores = math.ceil(load / assumed.utilisation)
    gigabits = 2 * rate * figures.kilobytes(assumed.megapixels) * 8e-6
    busy_nodes = max(cores / assumed.node_cores, gigabits / assumed.node_gbit)
    # One node more than necessary, so that one may be lost.
    nodes = math.ceil(busy_nodes) + 1
    gpu_load = fresh * (core_ms - figures.infer_ms) / 1000
    return Need(
        rate=rate,
        core_ms=core_ms,
        cores=cores,
        nodes=nodes,
        cells=math.ceil(cores / assumed.cell_replicas),
        node_gbit=gigabits / nodes,
        gpus=math.ceil(fresh / assumed.gpu_images / assumed.utilisation),
        gpu_cores=math.ceil(gpu_load / assumed.utilisation),
        dollars=cores * assumed.core_hour / 3600 / rate * 1e6,
    )


def sheet(record: dict[str, Any], source: str, assumed: Assumptions) -> str:
    """The document as Markdown."""
    figures = measured(record)
    needs = [need(rate, figures, assumed) for rate in RATES]
    core_ms = needs[0].core_ms
    lines = [
        "# Capacity",
        "",
        f"`python -m benchmarks.capacity {source}` computes this page. Every assumption below is "
        "an option of the command.",
        "",
        "## Measured",
        "",
        *table(("figure", "value"), _measured_rows(figures, core_ms)),
        "",
        "## Assumed",
        "",
        *table(("option", "value", "meaning"), _assumed_rows(assumed)),
        "",
        f"An upload of {assumed.megapixels:g} megapixels has "
        f"{figures.kilobytes(assumed.megapixels):.0f} kB and takes {core_ms:.2f} ms of a core. "
        "The computation assumes that the rate grows in proportion to the cores. This was not "
        "measured on machines with more cores.",
        "",
        "## Uploads a second",
        "",
        *table(("", *(f"{rate:,}" for rate in RATES)), _need_rows(needs, figures, assumed)),
        "",
        "## What fails first, and what to change",
        "",
        *_advice(needs, figures, assumed),
    ]
    return "\n".join(lines) + "\n"


def _measured_rows(figures: Measured, core_ms: float) -> list[tuple[str, str]]:
    decoding = ", ".join(f"{row['megapixels']:g} MP {row['ms']:.1f} ms" for row in figures.decoding)
    explained = figures.explanation_seconds * figures.cores
    return [
        (
            "answers/s at the peak, open loop",
            f"{figures.peak:.0f} on {figures.cores} cores, which the client uses, too",
        ),
        ("core time of a small upload", f"{1000 * figures.cores / figures.peak:.2f} ms"),
        ("of that, inference", f"{figures.infer_ms:.2f} ms"),
        ("decoding", decoding),
        (
            "an explanation",
            f"{explained:.1f} core seconds, as much as {_tags(figures, core_ms)} tags",
        ),
    ]


def _tags(figures: Measured, core_ms: float) -> str:
    """How many tags cost as much as one explanation."""
    return f"{figures.explanation_seconds * figures.cores * 1000 / core_ms:,.0f}"


def _assumed_rows(assumed: Assumptions) -> list[tuple[str, str, str]]:
    return [
        (f"`{_option(entry)}`", f"{getattr(assumed, entry.name):g}", entry.metadata["meaning"])
        for entry in fields(assumed)
    ]


def _need_rows(
    needs: Sequence[Need], figures: Measured, assumed: Assumptions
) -> list[tuple[str, ...]]:
    kilobytes = figures.kilobytes(assumed.megapixels)
    return [
        ("cores, one replica on each", *(f"{need.cores:,}" for need in needs)),
        (f"nodes of {assumed.node_cores} cores, one of them spare",
         *(f"{need.nodes:,}" for need in needs)),
        ("clusters", *(f"{need.cells:,}" for need in needs)),
        ("HAProxies, one on each node", *(f"{need.nodes:,}" for need in needs)),
        ("of the cores, those that HAProxy uses",
         *(f"{need.rate * assumed.proxy_ms / 1000:,.2f}" for need in needs)),
        ("Gbit/s of each node, in and out", *(f"{need.node_gbit:.2f}" for need in needs)),
        ("Gbit/s of uploads", *(f"{need.rate * kilobytes * 8e-6:,.2f}" for need in needs)),
        ("alternative: GPUs", *(f"{need.gpus:,}" for need in needs)),
        ("and cores beside them, for everything but inference",
         *(f"{need.gpu_cores:,}" for need in needs)),
        ("dollars for a million uploads, cores only", *(f"{need.dollars:.2f}" for need in needs)),
    ]  # fmt: skip


def _advice(needs: Sequence[Need], figures: Measured, assumed: Assumptions) -> list[str]:
    """Paragraphs, separated by empty lines."""
    hundred, thousands, million = needs
    paragraphs = [
        _at_a_hundred(hundred, figures),
        _at_ten_thousand(thousands, assumed),
        _at_a_million(million, figures, assumed),
        f"**GPUs.** Inference is {figures.infer_ms / hundred.core_ms:.0%} of an upload's core "
        "time. Decoding and HTTP stay on the cores. A GPU is worth its cost for networks with more "
        "arithmetic (VGG16, ResNet50), or if the GPU also decodes, which pintag does not support.",
        "**Cost.** Nearly all of the cost is core time. It is lower with int8 (enabled), with "
        "smaller images, with repeated uploads that the cache answers, and with a smaller network "
        "or input. Each replica takes some hundreds of megabytes of memory. Disk space is "
        "negligible. Metrics are one scrape for each node.",
    ]
    return "\n\n".join(paragraphs).split("\n")


def _at_a_hundred(need: Need, figures: Measured) -> str:
    return (
        f"**{need.rate:,} a second.** Nothing fails: {need.cores} "
        f"core{'s' if need.cores > 1 else ''} would be enough. There are two nodes because one may "
        "die. Explanations become a problem first: one costs as much as "
        f"{_tags(figures, need.core_ms)} tags, so give the explainer its own nodes before you give "
        "the classifier more."
    )


def _at_ten_thousand(need: Need, assumed: Assumptions) -> str:
    checks = need.nodes * need.cores / 5
    proxy = need.rate * assumed.proxy_ms / 1000
    return (
        f"**{need.rate:,} a second.** Bursts fail first: a new replica takes seconds to start, and "
        "the queues hold a third of a second's work. Keep `target_ongoing_requests` low "
        "(configs/serve/cluster.yaml has a value), and set `min_replicas` for the lowest load of "
        f"the day. The ingress is next: HAProxy needs only {proxy:.1f} cores, but a load balancer "
        "in front of the nodes must spread connections evenly. Health checks "
        f"({need.nodes} HAProxies check {need.cores} replicas every 5 s: {checks:,.0f}/s) are "
        "still cheap. The cache of each replica helps with repeated uploads only while there are "
        "few replicas. With many replicas, send equal bodies to the same replica (HAProxy's "
        "`balance hash` on a digest that the client sends), or share the cache."
    )


def _at_a_million(need: Need, figures: Measured, assumed: Assumptions) -> str:
    gigabits = need.rate * figures.kilobytes(assumed.megapixels) * 8e-6
    return (
        f"**{need.rate:,} a second.** One cluster fails first: {need.cores:,} replicas are more "
        "than one Serve controller and every node's server list can handle (each HAProxy checks "
        "the health of every replica, and our rule that chooses an idle replica searches them one "
        f"by one). Run {need.cells} clusters of at most {assumed.cell_replicas} replicas, each "
        "with its own address, behind anycast or DNS. Roll out new models cluster by cluster. "
        f"The network is next: {gigabits:,.0f} Gbit/s of images arrive. An image crosses the "
        "network of a node twice if the HAProxy that receives it and the replica are on different "
        "nodes: prefer replicas on the same node. You save most if you avoid the transfer: tag the "
        "small version of an image, which the platform creates anyway, where it is created. (The "
        "measurements here are of such small images.)"
    )


def _option(entry: Field[Any]) -> str:
    return f"--{entry.name.replace('_', '-')}"


def main() -> None:
    """Print the document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="the JSON file that `make bench` wrote")
    for entry in fields(Assumptions):
        meaning = entry.metadata["meaning"]
        parser.add_argument(
            _option(entry), type=type(entry.default), default=entry.default, help=meaning
        )
    options = vars(parser.parse_args())
    path = options.pop("record")
    print(sheet(json.loads(path.read_text()), str(path), Assumptions(**options)), end="")


if __name__ == "__main__":
    main()
