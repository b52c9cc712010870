"""A record of measurements as Markdown: goals first, then ratios, then absolute figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.overload import HIGH, OVERLOADED, UNLOADED
from benchmarks.servers import FASTAPI, OURS, RECIPE, TRITON

Record = dict[str, Any]
Measurements = dict[str, Any]


def markdown(date: str, record: Record) -> str:
    """The document of a record. Its JSON has the results of a part under the key `found`."""
    results = {part: content["found"] for part, content in record.items()}
    lines = [f"# Benchmarks of {date}", "", *_preamble(record), "## Goals", ""]
    lines += table(("measure", "goal", "result", "reached"), _goals(results))
    for part, section in _SECTIONS.items():
        if part in results:
            lines += ["", *section(results[part], date)]
    return "\n".join(lines) + "\n"


def _preamble(record: Record) -> list[str]:
    described = next(iter(record.values()))
    machine, settings = described["machine"], described["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in described["versions"].items())
    commits = sorted({content["commit"] for content in record.values()})
    network = settings["network"]
    size = f"{network['input_size']}x{network['input_size']}"
    return [
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}; commit {', '.join(commits)} (+: with changes).",
        f"{versions}.",
        "",
        f"Bundle: {network['backbone']} {network.get('alpha') or ''} at {size}, "
        f"with {settings['engine']}. {settings['photographs']} photographs in rotation, "
        f"{settings['bytes_of_a_photograph']:,} bytes on average. The cache of answers is off. "
        "Clients use the same cores. *Bare* is one process that only decodes images and runs the "
        "model, with a thread and an engine for each core, in batches of 32. `make bench` repeats "
        "the measurements. The JSON file beside this page has all figures.",
        "",
    ]


def _goals(results: Measurements) -> Iterable[Sequence[str]]:
    if "servers" in results:
        servers = results["servers"]["servers"]
        busy = servers[OURS]["64"]
        yield _goal("one image a request, 64 connections, ratio to bare", 0.70, busy["of_bare"])
        for rival, factor in ((TRITON, 1.15), (RECIPE, 10.0)):
            if rival in servers:
                rate = servers[rival]["64"]["requests_per_second"]
                name = f"the same, ratio to {rival}"
                yield _goal(name, factor, busy["requests_per_second"] / rate)
        latency = servers[OURS]["1"]["p50_ms"] / servers[FASTAPI]["1"]["p50_ms"]
        yield _goal("one connection, median, ratio to FastAPI's", 1.0, latency, at_least=False)
        tail = busy["p99_ms"] / busy["p50_ms"]
        yield _goal("p99 at 64 connections, ratio to its median", 2.0, tail, at_least=False)
    if "overload" in results:
        yield from _overload_goals(results["overload"])
    for form, row in results.get("many", {}).get("forms", {}).items():
        yield _goal(f"many images in a request ({form}), ratio to bare", 0.95, row["of_bare"])
    if "bulk" in results:
        yield _goal("bulk, ratio to bare", 0.90, results["bulk"]["of_bare"])
        yield _goal("bulk, two nodes, ratio to one", 1.8, results["bulk"]["nodes"]["two_of_one"])


def _overload_goals(results: Measurements) -> Iterable[Sequence[str]]:
    rows = {row["share"]: row for row in results["rows"]}
    tail = rows[HIGH]["p99_ms"] / rows[UNLOADED]["p99_ms"]
    worst = rows[OVERLOADED]
    yield _goal("p99 at 70 % of the peak, ratio to the unloaded one", 5.0, tail, at_least=False)
    yield _goal(
        "goodput at 3 times the peak, ratio to the peak", 0.90, worst["goodput"] / results["peak"]
    )
    if refusal := worst["refusal_p99_ms"]:
        yield _goal("p99 of a refusal, ms", 50.0, refusal, at_least=False)


def _goal(name: str, goal: float, result: float, *, at_least: bool = True) -> Sequence[str]:
    reached = result >= goal if at_least else result <= goal
    words = "at least" if at_least else "at most"
    return name, f"{words} {goal:g}", f"{result:.2f}", "yes" if reached else "**no**"


def _servers(results: Measurements, date: str) -> list[str]:
    keys = ("bare_before", "bare_after")
    bare = [round(round_[key]) for round_ in results["rounds"] for key in keys]
    rows = []
    for server, counts in results["servers"].items():
        for count, row in counts.items():
            ours = results["servers"][OURS][count]["requests_per_second"]
            rate = row["requests_per_second"]
            rows.append(
                (
                    server,
                    str(count),
                    f"{row['of_bare']:.0%}",
                    f"{ours / rate:.2f}",
                    f"{rate:.0f}",
                    f"{row['p50_ms']:.1f}",
                    f"{row['p99_ms']:.1f}",
                    f"{row['failed']:.0f}",
                )
            )
    head = ("server", "connections", "of bare", "pintag's rate / its rate", "requests/s", "p50 ms",
            "p99 ms", "failed")  # fmt: skip
    return [
        "## One image a request",
        "",
        f"wrk sends the requests with one thread. The figures are medians of "
        f"{len(results['rounds'])} rounds. In each round every server runs alone, one after the "
        f"other. *Bare*, before and after each round: {_several(bare)} images/s.",
        "",
        *table(head, rows),
    ]


def _many(results: Measurements, date: str) -> list[str]:
    rows = [
        (form, f"{row['of_bare']:.0%}", f"{row['images_per_second']:.0f}")
        for form, row in results["forms"].items()
    ]
    return [
        "## Many images in a request",
        "",
        f"{results['clients']} clients send {results['images_in_a_request']} images in each "
        f"request. *Bare*: {_several(map(round, results['bare']))} images/s.",
        "",
        *table(("body", "of bare", "images/s"), rows),
    ]


def _overload(results: Measurements, date: str) -> list[str]:
    peak = results["peak"]
    rows = [
        (
            f"{row['share']:g}",
            f"{row['goodput'] / peak:.2f}",
            f"{row['goodput']:.0f}",
            _ms(row["p50_ms"]),
            _ms(row["p99_ms"]),
            str(row["refused"]),
            _ms(row["refusal_p99_ms"]),
            ", ".join(row["retry_after"]),
            str(row["failed"]),
        )
        for row in results["rows"]
    ]
    head = ("offered / peak", "answered / peak", "answered/s", "p50 ms", "p99 ms",
            "refused", "p99 of a refusal, ms", "Retry-After", "failed")  # fmt: skip
    return [
        "## Open loop and overload",
        "",
        "The client sends requests at a constant rate, even if the server is slow. A latency "
        "counts from the time when its request was due (`benchmarks/openloop.py`). The peak is "
        f"{peak:.0f} answers/s.",
        "",
        *table(head, rows),
        "",
        f"![Goodput and latency]({date}-overload.png)",
    ]


def _engines(results: Measurements, date: str) -> list[str]:
    return [*_engine_speeds(results), "", *_decoding(results), "", *_explanations(results)]


def _engine_speeds(results: Measurements) -> list[str]:
    slowest = results["engines"]["tensorflow fp32"]
    rows = [
        (
            name,
            f"{row['images_per_second'] / slowest['images_per_second']:.2f}",
            f"{slowest['one_image_ms'] / row['one_image_ms']:.2f}",
            f"{row['one_image_ms']:.2f}",
            f"{row['images_per_second']:.0f}",
        )
        for name, row in results["engines"].items()
    ]
    header = ("engine", "batch of 32", "one image", "one image, ms", "images/s, batch of 32")
    return [
        "## Engines",
        "",
        "One caller uses all cores. The times are without decoding. Ratios compare the speed with "
        "that of TensorFlow.",
        "",
        *table(header, rows),
    ]


def _decoding(results: Measurements) -> list[str]:
    rows = [
        (f"{row['megapixels']:g}", f"{row['ms']:.2f}", f"{row['kilobytes']:.0f}")
        for row in results["decoding"]
    ]
    return [
        "## Decoding",
        "",
        "One core decodes enlarged photographs (JPEG of quality 85) at the scale that the network "
        "needs.",
        "",
        *table(("megapixels", "ms", "kilobytes"), rows),
    ]


def _explanations(results: Measurements) -> list[str]:
    rows = [
        (
            name,
            f"{row['of_bare']:.2f}",
            f"{row['seconds']:.2f}",
            f"{row['samples']:.0f}",
            ", ".join(f"{seconds:.3f}" for seconds in row.get("phases", ())),
        )
        for name, row in results["explanations"].items()
    ]
    header = ("", "ratio to bare", "seconds", "samples", "segmentation, sampling, fit")
    return [
        "## Explanations",
        "",
        f"The figures are means of {results['explained']} photographs, with the fastest engine. "
        "*Bare* predicts the same number of images with this engine in batches of 32.",
        "",
        *table(header, rows),
    ]


def _bulk(results: Measurements, date: str) -> list[str]:
    nodes = results["nodes"]
    rows = [
        ("all cores", f"{results['of_bare']:.0%} of bare", f"{results['images_per_second']:.0f}"),
        ("one node of one core", "", _several(map(round, nodes["rates"]["1"]))),
        (
            "two nodes of one core",
            f"{nodes['two_of_one']:.2f} times one",
            _several(map(round, nodes["rates"]["2"])),
        ),
    ]
    return [
        "## Bulk",
        "",
        "`pintag bulk` tags a list of files. The rate is measured while every actor works. "
        f"*Bare*: {_several(map(round, results['bare']))} images/s.",
        "",
        *table(("", "ratio", "images/s"), rows),
    ]


def _memory(results: Measurements, date: str) -> list[str]:
    return [
        "## Memory of a long bulk job",
        "",
        f"The job tagged {results['rows']:,} small synthetic images from one Parquet file in "
        f"{results['seconds']:.0f} s. The output has {results['distinct_uris']:,} distinct names "
        f"and {results['rows_with_an_error']} errors. The memory of all its processes (PSS), as "
        f"the median of each tenth of the time: {_several(results['mib_by_tenth'])} MiB.",
        "",
        f"![Memory]({date}-memory.png)",
    ]


def _scaling(results: Measurements, date: str) -> list[str]:
    settings = ", ".join(f"{key} {value:g}" for key, value in results["settings"].items())
    rows = [
        (
            name,
            str(row["requests"]),
            str(row["refused"]),
            str(row["failed"]),
            " to ".join(map(str, row["replicas"])),
            *(
                "" if row[key] is None else f"{row[key]:.0f}"
                for key in ("first_replica_after", "all_replicas_after", "first_left_after")
            ),
            _ms(row["p50_ms"]),
            _ms(row["p99_ms"]),
        )
        for name, row in results["loads"].items()
    ]
    head = ("load", "requests", "refused", "failed", "replicas", "first new, s",
            "all, s", "first gone, s", "p50 ms", "p99 ms")  # fmt: skip
    return [
        "## Autoscaling",
        "",
        "In this test the engines take 20 ms more for each image, and Ray has more logical "
        f"processors than there are cores. Settings: {settings}. Seconds count from the time when "
        "the load began to grow, or to fall.",
        "",
        *table(head, rows),
        "",
        f"![Load, replicas and latency]({date}-scaling.png)",
    ]


_SECTIONS: dict[str, Callable[[Measurements, str], list[str]]] = {
    "servers": _servers,
    "many": _many,
    "overload": _overload,
    "bulk": _bulk,
    "memory": _memory,
    "engines": _engines,
    "scaling": _scaling,
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _several(values: Iterable[int]) -> str:
    return ", ".join(f"{value:,}" for value in values)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
