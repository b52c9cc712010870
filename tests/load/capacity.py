"""What it takes to tag 100, 10,000 and 1,000,000 uploads a second, from measured figures.

    python -m tests.load.capacity docs/benchmarks/DATE.json > docs/capacity.md

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

from tests.load.report import table

RATES = (100, 10_000, 1_000_000)


def _assumed(value: float, what: str) -> Any:
    return field(default=value, metadata={"what": what})


@dataclass(frozen=True)
class Assumptions:
    """What was not measured here."""

    megapixels: float = _assumed(0.5, "of an upload: a picture that the app made smaller")
    utilisation: float = _assumed(0.7, "of the peak, at the busiest time")
    known: float = _assumed(0.0, "share of uploads that the cache of answers knows")
    node_cores: int = _assumed(32, "of a node")
    node_gbit: float = _assumed(25.0, "of a node's network, each way")
    proxy_ms: float = _assumed(0.1, "of a core, HAProxy's for a request (docs/performance.md)")
    gpu_images: float = _assumed(20_000.0, "images/s of one GPU; none was at hand")
    core_hour: float = _assumed(0.04, "dollars for a core and its memory for an hour")
    cell_replicas: int = _assumed(512, "of one cluster: every HAProxy checks all of them")


@dataclass(frozen=True)
class Measured:
    """Of a record."""

    cores: int
    peak: float
    """answers/s of the open loop"""
    decoding: Sequence[dict[str, float]]
    infer_ms: float
    """of one core, for an image"""
    explanation_seconds: float

    def decode_ms(self, megapixels: float) -> float:
        """Of one core, for a picture of that size; straight lines between what was measured."""
        return self._between("ms", megapixels)

    def kilobytes(self, megapixels: float) -> float:
        """Of such a picture."""
        return self._between("kilobytes", megapixels)

    def _between(self, name: str, megapixels: float) -> float:
        sizes = [row["megapixels"] for row in self.decoding]
        return float(np.interp(megapixels, sizes, [row[name] for row in self.decoding]))


def measured(record: dict[str, Any]) -> Measured:
    """What of a record is needed here."""
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
    """Of a rate."""

    rate: int
    core_ms: float
    """of one upload that is not known"""
    cores: int
    nodes: int
    cells: int
    node_gbit: float
    """in and out of each node, an upload crossing it twice"""
    gpus: int
    gpu_cores: int
    dollars: float
    """for a million uploads"""


def need(rate: int, found: Measured, assumed: Assumptions) -> Need:
    """What a rate needs."""
    decode = found.decode_ms(assumed.megapixels)
    # What one upload takes of the cores at the peak, client included; its picture is small.
    small = 1000 * found.cores / found.peak
    core_ms = small + max(0.0, decode - found.decode_ms(0))
    fresh = rate * (1 - assumed.known)
    load = (fresh * core_ms + rate * assumed.known * assumed.proxy_ms) / 1000
    cores = math.ceil(load / assumed.utilisation)
    # One node more than are needed: one may be lost.
    gigabits = 2 * rate * found.kilobytes(assumed.megapixels) * 8e-6
    wanted = max(cores / assumed.node_cores, gigabits / assumed.node_gbit)
    nodes = math.ceil(wanted) + 1
    gpu_load = fresh * (core_ms - found.infer_ms) / 1000
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
    """The document."""
    found = measured(record)
    needs = [need(rate, found, assumed) for rate in RATES]
    hundred, thousands, million = needs
    kilobytes = found.kilobytes(assumed.megapixels)
    proxy = [each.rate * assumed.proxy_ms / 1000 for each in needs]
    checks = thousands.nodes * thousands.cores / 5
    rows = [
        ("cores, one replica on each", *(f"{each.cores:,}" for each in needs)),
        (f"nodes of {assumed.node_cores} cores, one of them spare",
         *(f"{each.nodes:,}" for each in needs)),
        ("clusters", *(f"{each.cells:,}" for each in needs)),
        ("HAProxies, one on each node", *(f"{each.nodes:,}" for each in needs)),
        ("cores' worth of HAProxy in that", *(f"{each:,.2f}" for each in proxy)),
        ("Gbit/s of each node, in and out", *(f"{each.node_gbit:.2f}" for each in needs)),
        ("Gbit/s of uploads", *(
            f"{each.rate * kilobytes * 8e-6:,.2f}" for each in needs)),
        ("instead: GPUs", *(f"{each.gpus:,}" for each in needs)),
        ("and cores beside them, for all but inference", *(f"{e.gpu_cores:,}" for e in needs)),
        ("dollars for a million uploads, cores alone", *(f"{e.dollars:.2f}" for e in needs)),
    ]  # fmt: skip
    explained = found.explanation_seconds * found.cores
    lines = [
        "# Capacity",
        "",
        f"Computed by `python -m tests.load.capacity {source}`; every assumption below is an "
        "option of it.",
        "",
        "## Measured",
        "",
        *table(
            ("figure", "value"),
            [
                (
                    "answers/s at the peak, open loop",
                    f"{found.peak:.0f} on {found.cores} cores, the client on them, too",
                ),
                ("core time of a small upload", f"{1000 * found.cores / found.peak:.2f} ms"),
                ("of that, inference", f"{found.infer_ms:.2f} ms"),
                (
                    "decoding",
                    ", ".join(
                        f"{row['megapixels']:g} MP {row['ms']:.1f} ms" for row in found.decoding
                    ),
                ),
                (
                    "an explanation",
                    f"{explained:.1f} core seconds, as much as "
                    f"{explained * 1000 / hundred.core_ms:,.0f} tags",
                ),
            ],
        ),
        "",
        "## Assumed",
        "",
        *table(
            ("option", "value", "what it is"),
            [
                (f"`{_option(each)}`", f"{getattr(assumed, each.name):g}", each.metadata["what"])
                for each in fields(assumed)
            ],
        ),
        "",
        f"An upload of {assumed.megapixels:g} megapixels has "
        f"{kilobytes:.0f} kB and takes {hundred.core_ms:.2f} ms of a core. That the rate grows "
        "with the cores was not measured beyond this machine.",
        "",
        "## Uploads a second",
        "",
        *table(("", *(f"{rate:,}" for rate in RATES)), rows),
        "",
        "## What breaks first, and what to change",
        "",
        f"**{RATES[0]:,} a second.** Nothing: {hundred.cores} core"
        f"{'s' if hundred.cores > 1 else ''} would do. Two nodes are for the one that dies. First "
        f"to hurt are explanations: one takes as long as {explained * 1000 / hundred.core_ms:,.0f} "
        "tags, so give the explainer nodes of its own before the classifier needs more.",
        "",
        f"**{RATES[1]:,} a second.** A burst breaks first: a new replica takes seconds, and the "
        "bound of what queues is a third of a second's work. Keep `target_ongoing_requests` low "
        "(configs/serve/cluster.yaml says how low), and `min_replicas` at the day's floor. Then "
        f"the way in: {proxy[1]:.1f} cores' worth of HAProxy is little, but a balancer before the "
        f"nodes must spread connections evenly. Health checks ({thousands.nodes} HAProxies ask "
        f"{thousands.cores} replicas every 5 s: {checks:,.0f}/s) are still small. Uploads that "
        "repeat are cheap with a cache for each replica only while there are few replicas: route "
        "equal bodies to equal replicas (HAProxy's `balance hash` on a digest that the uploader "
        "sends), or share the cache.",
        "",
        f"**{RATES[2]:,} a second.** One cluster breaks first: {million.cores:,} replicas are more "
        "than one Serve controller and every node's list of servers should carry (each HAProxy "
        "asks every replica for its health, and our rule of the idle replica looks through them "
        f"one by one). Run {million.cells} clusters of at most {assumed.cell_replicas} replicas, "
        "each with its own address, behind anycast or DNS; roll new models out cluster by cluster. "
        "Then the "
        f"network: {RATES[2] * kilobytes * 8e-6:,.0f} Gbit/s of pictures "
        "come in, and cross a node twice where the HAProxy that takes one is not the replica's: "
        "prefer replicas of the same node. The largest saving is not to receive them: tag the "
        "small rendition that the platform makes anyway (what is measured here), where it is made.",
        "",
        f"**GPUs.** Inference is {found.infer_ms / hundred.core_ms:.0%} of an upload's core time; "
        "decoding and HTTP stay on the cores. A GPU pays for networks of more arithmetic (VGG16, "
        "ResNet50), or with the decoder on the GPU, too, which pintag does not do.",
        "",
        "**What it costs.** Core time, nearly all of it; it falls with int8 (on), with smaller "
        "pictures, with repeats that are known, with a smaller network or input. Memory is some "
        "hundreds of megabytes for each replica, disk is nothing, and metrics are one scrape for "
        "each node.",
    ]
    return "\n".join(lines) + "\n"


def _option(each: Field[Any]) -> str:
    return f"--{each.name.replace('_', '-')}"


def main() -> None:
    """Print the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON that `make bench` wrote")
    for each in fields(Assumptions):
        what = each.metadata["what"]
        parser.add_argument(_option(each), type=type(each.default), default=each.default, help=what)
    given = vars(parser.parse_args())
    path = given.pop("record")
    print(sheet(json.loads(path.read_text()), str(path), Assumptions(**given)), end="")


if __name__ == "__main__":
    main()
