"""A record of measurements as Markdown: goals first, then ratios, then absolute figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests.load.overload import HIGH, OVERLOADED, UNLOADED
from tests.load.servers import FASTAPI, OURS, RECIPE, TRITON

Record = dict[str, Any]
Found = dict[str, Any]


def markdown(date: str, record: Record) -> str:
    """The whole document."""
    found = {part: content["found"] for part, content in record.items()}
    lines = [f"# Benchmarks of {date}", "", *_preamble(record), "## Goals", ""]
    lines += table(("measure", "goal", "found", "reached"), _goals(found))
    for part, section in _SECTIONS.items():
        if part in found:
            lines += ["", *section(found[part], date)]
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
        f"by {settings['engine']}. {settings['photographs']} photographs in turn, "
        f"{settings['bytes_of_a_photograph']:,} bytes in the mean. The cache of answers is off. "
        "Clients run on the same cores. *Bare* is one process that decodes and infers, a thread "
        "and an engine for each core, batches of 32. `make bench` makes this anew; the JSON beside "
        "it has everything.",
        "",
    ]


def _goals(found: Found) -> Iterable[Sequence[str]]:
    if "servers" in found:
        at = found["servers"]["servers"]
        most = at[OURS]["64"]
        yield _goal("one image a request, 64 connections, of bare", 0.70, most["of_bare"])
        for rival, factor in ((TRITON, 1.15), (RECIPE, 10.0)):
            if rival in at:
                rate = at[rival]["64"]["requests_per_second"]
                name = f"the same, times {rival}"
                yield _goal(name, factor, most["requests_per_second"] / rate)
        one = at[OURS]["1"]["p50_ms"] / at[FASTAPI]["1"]["p50_ms"]
        yield _goal("one connection, median, of FastAPI's", 1.0, one, at_least=False)
        tail = most["p99_ms"] / most["p50_ms"]
        yield _goal("p99 at 64 connections, of its median", 2.0, tail, at_least=False)
    if "overload" in found:
        yield from _overload_goals(found["overload"])
    for form, row in found.get("many", {}).get("forms", {}).items():
        yield _goal(f"many images in a request ({form}), of bare", 0.95, row["of_bare"])
    if "bulk" in found:
        yield _goal("bulk, of bare", 0.90, found["bulk"]["of_bare"])
        yield _goal("bulk, two nodes, times one", 1.8, found["bulk"]["nodes"]["two_of_one"])


def _overload_goals(found: Found) -> Iterable[Sequence[str]]:
    rows = {row["share"]: row for row in found["rows"]}
    tail = rows[HIGH]["p99_ms"] / rows[UNLOADED]["p99_ms"]
    worst = rows[OVERLOADED]
    yield _goal("p99 at 70 % of peak, of the unloaded one", 5.0, tail, at_least=False)
    yield _goal("goodput at 3 times the peak, of it", 0.90, worst["goodput"] / found["peak"])
    if refusal := worst["refusal_p99_ms"]:
        yield _goal("p99 of a refusal, ms", 50.0, refusal, at_least=False)


def _goal(name: str, wanted: float, found: float, *, at_least: bool = True) -> Sequence[str]:
    reached = found >= wanted if at_least else found <= wanted
    words = "at least" if at_least else "at most"
    return name, f"{words} {wanted:g}", f"{found:.2f}", "yes" if reached else "**no**"


def _servers(found: Found, date: str) -> list[str]:
    bare = [round(each[key]) for each in found["rounds"] for key in ("bare_before", "bare_after")]
    rows = []
    for server, counts in found["servers"].items():
        for count, row in counts.items():
            ours = found["servers"][OURS][count]["requests_per_second"]
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
    head = ("server", "connections", "of bare", "pintag's rate, of it", "requests/s", "p50 ms",
            "p99 ms", "failed")  # fmt: skip
    return [
        "## One image a request",
        "",
        f"wrk, one thread; medians of {len(found['rounds'])} rounds, in each of which every server "
        f"has its turn alone. Bare, before and after each round: {_several(bare)} images/s.",
        "",
        *table(head, rows),
    ]


def _many(found: Found, date: str) -> list[str]:
    rows = [
        (form, f"{row['of_bare']:.0%}", f"{row['images_per_second']:.0f}")
        for form, row in found["forms"].items()
    ]
    return [
        "## Many images in a request",
        "",
        f"{found['images_in_a_request']} images in each, {found['clients']} clients. Bare: "
        f"{_several(map(round, found['bare']))} images/s.",
        "",
        *table(("body", "of bare", "images/s"), rows),
    ]


def _overload(found: Found, date: str) -> list[str]:
    peak = found["peak"]
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
        for row in found["rows"]
    ]
    head = ("offered, of the peak", "answered, of the peak", "answered/s", "p50 ms", "p99 ms",
            "refused", "p99 of a refusal, ms", "Retry-After", "failed")  # fmt: skip
    return [
        "## Open loop and overload",
        "",
        f"Requests are due at an even rate, whatever the server does; a latency counts from when "
        f"its request was due, so none is omitted (`tests/load/openloop.py`). The peak is "
        f"{peak:.0f} answers/s.",
        "",
        *table(head, rows),
        "",
        f"![Goodput and latency]({date}-overload.png)",
    ]


def _engines(found: Found, date: str) -> list[str]:
    slowest = found["engines"]["tensorflow fp32"]
    engines = [
        (
            name,
            f"{row['images_per_second'] / slowest['images_per_second']:.2f}",
            f"{slowest['one_image_ms'] / row['one_image_ms']:.2f}",
            f"{row['one_image_ms']:.2f}",
            f"{row['images_per_second']:.0f}",
        )
        for name, row in found["engines"].items()
    ]
    explanations = [
        (
            name,
            f"{row['of_bare']:.2f}",
            f"{row['seconds']:.2f}",
            f"{row['samples']:.0f}",
            ", ".join(f"{seconds:.3f}" for seconds in row.get("phases", ())),
        )
        for name, row in found["explanations"].items()
    ]
    return [
        "## Engines",
        "",
        "Without decoding; one caller, all cores. Ratios are to TensorFlow's speed.",
        "",
        *table(
            ("engine", "batch of 32", "one image", "one image, ms", "images/s, batch of 32"),
            engines,
        ),
        "",
        "## Decoding",
        "",
        "One core; photographs made larger, as JPEG of quality 85, decoded at the scale that the "
        "network needs.",
        "",
        *table(
            ("megapixels", "ms", "kilobytes"),
            [
                (f"{row['megapixels']:g}", f"{row['ms']:.2f}", f"{row['kilobytes']:.0f}")
                for row in found["decoding"]
            ],
        ),
        "",
        "## Explanations",
        "",
        f"Means of {found['explained']} photographs, by the fastest engine; *bare* is the same "
        "number of images through it in batches of 32.",
        "",
        *table(("", "of bare", "seconds", "samples", "segmentation, sampling, fit"), explanations),
    ]


def _bulk(found: Found, date: str) -> list[str]:
    nodes = found["nodes"]
    rows = [
        ("all cores", f"{found['of_bare']:.0%} of bare", f"{found['images_per_second']:.0f}"),
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
        "`pintag bulk` over a list of files, while every actor is at work. Bare: "
        f"{_several(map(round, found['bare']))} images/s.",
        "",
        *table(("", "ratio", "images/s"), rows),
    ]


def _memory(found: Found, date: str) -> list[str]:
    return [
        "## Memory of a long bulk job",
        "",
        f"{found['rows']:,} small synthetic pictures from one Parquet file, "
        f"{found['distinct_uris']:,} distinct names in the result, "
        f"{found['rows_with_an_error']} errors, "
        f"{found['seconds']:.0f} s. All processes of the job (PSS), median of each tenth of the "
        f"time: {_several(found['mib_by_tenth'])} MiB.",
        "",
        f"![Memory]({date}-memory.png)",
    ]


def _scaling(found: Found, date: str) -> list[str]:
    settings = ", ".join(f"{key} {value:g}" for key, value in found["settings"].items())
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
        for name, row in found["loads"].items()
    ]
    head = ("load", "requests", "refused", "failed", "replicas", "first new one, s", "all, s",
            "first gone, s", "p50 ms", "p99 ms")  # fmt: skip
    return [
        "## Autoscaling",
        "",
        "Engines made 20 ms slower for each image, more logical processors than cores; "
        f"{settings}. Seconds count from when the load began to grow, or to fall.",
        "",
        *table(head, rows),
        "",
        f"![Load, replicas and latency]({date}-scaling.png)",
    ]


_SECTIONS: dict[str, Callable[[Found, str], list[str]]] = {
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
