"""`pintag explain`: which superpixels are the evidence for a label, as pictures and as JSON."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pintag.cli import client, console, explainers, sources
from pintag.cli.console import escape
from pintag.cli.explainers import LocalExplainer
from pintag.cli.sources import Source
from pintag.core import config, files, formatting
from pintag.core.errors import ExplainError, ImageError
from pintag.core.types import Pixels, Progress
from pintag.explain.request import ExplanationRequest
from pintag.models import registry

if TYPE_CHECKING:
    # They import lime and scikit-image, which take a second.
    from pintag.explain.saved import SavedExplanation
    from pintag.explain.schema import ExplanationAnswer

# Takes an encoded image, returns one explanation for each label.
ExplainFunction = Callable[[bytes, Progress], list["SavedExplanation"]]

PATH = "/v1/explanations"
_DEFAULT_LIMIT = 200
# Characters of a label or an image's name that do not go into a file name.
_UNSAFE = re.compile(r"[^\w .()+,=@-]")
# File systems allow names of 255 bytes.
_MAX_STEM_BYTES, _MAX_LABEL_BYTES = 120, 60

_HELP = """Show which parts of each IMAGE the model used as evidence for its label.

IMAGE is a file, a folder, or - for standard input. The method is LIME. It divides the image into
superpixels (regions of similar colour), hides random sets of them, lets the model predict these
copies, and fits a linear model, the surrogate, to the predictions. The surrogate gives each
superpixel a weight: positive is evidence for the label, negative is evidence against it.

\b
The command writes two files for each image:
  NAME.LABEL.MODE.png    the most important superpixels with their ranks and
                         weights, drawn on the image:
                         blue is evidence for the label, orange against it,
                         pale and dashed means: the rank is uncertain
  NAME.LABEL.MODE.json   the weight and the location of every superpixel

\b
Examples:
  pintag explain cat.jpg --bundle runs/pins
  pintag explain cat.jpg --bundle runs/pins --label food --mode stable
  pintag explain pictures/ --url http://localhost:8000 --out why

Choose the mode by what you need. "reference" is LIME as published: use it to compare with other
work. Another seed may select other superpixels. "stable" needs half as many samples and reports how
many of the first superpixels rank above the rest with statistical confidence (on 40 photographs it
was one of five, on average). It stops early if all requested superpixels rank above the rest. Use
it when you act on the result.

With --pick the command writes a gallery: SP-LIME picks the few images that together show most of
the model's evidence. The files are index.html and pick.json:

\b
  pintag explain --pick 8 pins/test --bundle runs/pins --mode stable --out gallery

If an image cannot be explained, the command prints an error for it, continues with the others, and
exits with code 1.
"""


@click.command(help=_HELP)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--bundle", help="Explain with a bundle or a registry: a folder or a URI.")
@click.option(
    "--url",
    help="Explain with a server, such as http://localhost:8000. Set its API key in PINTAG_KEY.",
)
@click.option(
    "--out",
    default="explanations",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder for the files.",
)
@click.option("--label", help="The label to explain.  [default: each image's most confident one]")
@click.option(
    "--top-labels",
    default=1,
    type=click.IntRange(1),
    help="Explain this many of the most confident labels, with the same samples. Bundle only.",
)
@click.option(
    "--num-features",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Number of most important superpixels to draw.",
)
@click.option(
    "--num-samples",
    type=click.IntRange(2, 100_000),
    help="Maximum number of perturbed images to predict.  [default: 1000, in stable mode 500]",
)
@click.option(
    "--mode",
    default="reference",
    show_default=True,
    type=click.Choice(["reference", "stable"]),
    help="The algorithm: see above.",
)
@click.option(
    "--segmentation",
    default="quickshift",
    show_default=True,
    type=click.Choice(["quickshift", "slic", "felzenszwalb"]),
    help="The algorithm that divides an image into superpixels.",
)
@click.option(
    "--positive-only",
    is_flag=True,
    help="Rank superpixels by weight, and draw only evidence for the label.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=console.SEED,
    help="Equal seeds give equal explanations.",
)
@click.option(
    "--pick",
    "pick_count",
    type=click.IntRange(1),
    help="Write a gallery of this many images instead. Bundle only.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"With --pick: explain at most this many images.  [default: {_DEFAULT_LIMIT}]",
)
@console.json_option
def explain(
    images: tuple[str, ...],
    bundle: str | None,
    url: str | None,
    out: Path,
    top_labels: int,
    pick_count: int | None,
    limit: int | None,
    as_json: bool,
    **parameters: Any,
) -> None:
    _check_usage(bundle, url, parameters["label"], top_labels, pick_count, limit)
    request = config.parse(ExplanationRequest, parameters, "explain")
    chosen = sources.expand(images, limited=url is None)
    if pick_count:
        sources.require(images)
    if url is not None:
        results = _explain_remotely(chosen, url, request, out, quiet=as_json)
    else:
        local = _load(str(bundle), request, top_labels, out)
        if pick_count:
            # It imports scikit-image and lime, which take a second.
            from pintag.cli import explain_pick

            limit = limit or _DEFAULT_LIMIT
            failed = explain_pick.run(local, chosen, pick_count, limit, out, as_json=as_json)
            click.get_current_context().exit(1 if failed else 0)
        results = _explain_all(chosen, local.answers, _OutputFolder(out), quiet=as_json)
    if as_json:
        console.print_json(results)
    if any("error" in result for result in results):
        click.get_current_context().exit(1)


def _check_usage(
    bundle: str | None,
    url: str | None,
    label: str | None,
    top_labels: int,
    pick_count: int | None,
    limit: int | None,
) -> None:
    """Refuse options that cannot be combined.

    Raises:
        click.UsageError: the message names them.
    """
    if pick_count and (bundle is None or url is not None):
        raise click.UsageError("--pick needs a --bundle")
    if (bundle is None) == (url is None):
        raise click.UsageError("give either --bundle or --url")
    if url is not None and top_labels > 1:
        raise click.UsageError("--top-labels needs a --bundle")
    if top_labels > 1 and (label is not None or pick_count):
        raise click.UsageError("--top-labels cannot be combined with --label or --pick")
    if limit and not pick_count:
        raise click.UsageError("--limit needs --pick")


def _load(bundle: str, request: ExplanationRequest, top_labels: int, out: Path) -> LocalExplainer:
    """Load the model. Check the label and the folder first, because the engine takes seconds.

    Raises:
        BundleError: there is no such bundle.
        DataError: the bundle does not have the label, or the folder cannot be written to.
    """
    loaded = registry.load(bundle)
    if request.label is not None:
        loaded.labels.index(request.label)
    files.require_writable(out)
    return LocalExplainer(loaded, request, top_labels)


def _explain_remotely(
    chosen: Sequence[Source], url: str, request: ExplanationRequest, out: Path, *, quiet: bool
) -> list[dict[str, object]]:
    files.require_writable(out)
    with client.connect(url, PATH, request.model_dump(exclude_none=True)) as server:

        def answers(data: bytes, _: Progress) -> list[SavedExplanation]:
            return [server.post(data, explainers.read_answer)]

        return _explain_all(chosen, answers, _OutputFolder(out), quiet=quiet)


class _OutputFolder:
    """Writes the files of each image under a unique name."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stems: set[str] = set()

    def unique_stem(self, name: str) -> str:
        """The beginning of the names of an image's files."""
        stem = _safe("stdin" if name == sources.STDIN else Path(name).stem, _MAX_STEM_BYTES)
        unique = stem
        # Some file systems ignore case.
        for number in itertools.count(2):
            if unique.casefold() not in self._stems:
                break
            unique = f"{stem}-{number}"
        self._stems.add(unique.casefold())
        return unique

    def write(
        self, name: str, stem: str, explanation: SavedExplanation, picture: Pixels
    ) -> list[str]:
        """Write the drawn explanation as PNG, and its JSON; return both paths."""
        from pintag.explain import overlay

        answer = explanation.answer
        path = self._out / f"{stem}.{_safe(answer.label, _MAX_LABEL_BYTES)}.{answer.mode}"
        content = formatting.to_json({"image": name, **answer.model_dump()}) + "\n"
        paths = [path.with_name(path.name + suffix) for suffix in (".png", ".json")]
        files.write_atomic(paths[0], overlay.png(explanation.figure(picture)))
        files.write_atomic(paths[1], content)
        return [str(path) for path in paths]


def _safe(name: str, max_bytes: int) -> str:
    """A part of a file name: no path separators, at most `max_bytes` of UTF-8."""
    return _UNSAFE.sub("_", name).encode()[:max_bytes].decode(errors="ignore")


def _explain_all(
    chosen: Sequence[Source], explainer: ExplainFunction, folder: _OutputFolder, *, quiet: bool
) -> list[dict[str, object]]:
    """Explain every image; the result of one that failed has the key `error`."""
    from pintag.explain import overlay

    results: list[dict[str, object]] = []
    for number, (name, read) in enumerate(chosen, start=1):
        stem = folder.unique_stem(name)
        title = f"explaining {number}/{len(chosen)} {stem}"
        try:
            # The progress bar is removed before a result or an error is printed.
            with console.progress(title, transient=True) as progress:
                data = read()
                answers = explainer(data, progress)
                picture = overlay.picture(data)
        except (ImageError, ExplainError) as error:
            results.append(sources.failed(name, error))
            continue
        for explanation in answers:
            written = folder.write(name, stem, explanation, picture)
            results.append({"image": name, **explanation.answer.model_dump(), "files": written})
            if not quiet:
                _print(name, explanation.answer, written)
    return results


def _print(name: str, answer: ExplanationAnswer, written: Sequence[str]) -> None:
    lines = [
        f"{name}: {answer.label} {answer.confidence:.1%}, explained in"
        f" {answer.seconds.total:.1f} s",
        f"  {answer.summary.claim}",
        f"  {answer.summary.fit}",
        *(f"  {path}" for path in written),
    ]
    for line in lines:
        console.out.print(escape(line), soft_wrap=True)
