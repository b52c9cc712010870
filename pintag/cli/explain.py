"""`pintag explain`: which superpixels carried a label, as pictures and as JSON."""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from pintag import files, registry, wording
from pintag.cli import client, console, explainers, sources
from pintag.cli.explainers import Local, Progress
from pintag.cli.sources import Source
from pintag.errors import DataError, ExplainError, ImageError
from pintag.images import Pixels
from pintag.question import Algorithm, Mode, Question

if TYPE_CHECKING:
    from pintag.told import Told

# Encoded bytes to explanations, one for each label.
Explainer = Callable[[bytes, Progress], list["Told"]]

PATH = "/v1/explanations"
_LIMIT = 200
# What a label or a name may not bring into the name of a file.
_UNSAFE = re.compile(r"[^\w .()+,=@-]")
# File systems take names of 255 bytes.
_LONGEST_STEM, _LONGEST_LABEL = 120, 60


@click.command()
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--bundle", "place", help="Explain with a bundle.")
@click.option(
    "--url", help="Explain with a server, such as http://localhost:8000; its key is in PINTAG_KEY."
)
@click.option(
    "--out",
    default="explanations",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder for what is written.",
)
@click.option("--label", help="The label to explain.  [default: each image's most confident one]")
@click.option(
    "--top-labels",
    default=1,
    type=click.IntRange(1),
    help="Explain so many of the most confident labels, by the same samples. Bundle only.",
)
@click.option(
    "--num-features",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Superpixels that are asked for.",
)
@click.option(
    "--num-samples",
    type=click.IntRange(2, 100_000),
    help="Perturbed images that the model sees at most.  [default: 1000, in stable mode 500]",
)
@click.option(
    "--mode",
    default="reference",
    show_default=True,
    type=click.Choice(["reference", "stable"]),
    help="The algorithm; see above.",
)
@click.option(
    "--segmentation",
    default="quickshift",
    show_default=True,
    type=click.Choice(["quickshift", "slic", "felzenszwalb"]),
    help="What divides an image into superpixels.",
)
@click.option(
    "--positive-only", is_flag=True, help="Rank by weight, and show only what speaks for the label."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1))
@click.option(
    "--pick",
    "count",
    type=click.IntRange(1),
    help="Write a gallery of so many images instead. Bundle only.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"With --pick: explain so many images at most.  [default: {_LIMIT}]",
)
@console.json_option
def explain(
    names: tuple[str, ...],
    place: str | None,
    url: str | None,
    out: Path,
    label: str | None,
    top_labels: int,
    num_features: int,
    num_samples: int | None,
    mode: Mode,
    segmentation: Algorithm,
    positive_only: bool,
    seed: int,
    count: int | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show which parts of each IMAGE carried its label, by LIME.

    IMAGE is a file, a folder of them, or - for standard input. The image is divided into
    superpixels, the model sees copies in which some are hidden, and a linear model of its answers
    gives each superpixel a weight. For each image there are two files:

    \b
      NAME.LABEL.MODE.png    the picture: blue speaks for the label, orange against it;
                             what stable mode is not sure of is pale and dashed
      NAME.LABEL.MODE.json   every superpixel's weight, and where it lies

    \b
      pintag explain cat.jpg --bundle runs/pins
      pintag explain cat.jpg --bundle runs/pins --label food --mode stable
      pintag explain pictures/ --url http://localhost:8000 --out why

    Modes. "reference" is LIME as it is published, for comparison with other work; another seed may
    name other superpixels. "stable" asks for half as many samples, says how many of the first
    superpixels they tell apart from the rest (one or two of five, on photographs), and stops early
    when that is all of them: take it when somebody is to act on the answer.

    With --pick the images are not shown one by one. SP-LIME chooses those that together show most
    of what the model goes by, and writes them into a page, index.html, and into pick.json:

    \b
      pintag explain --pick 8 pins/test --bundle runs/pins --mode stable --out gallery

    An image that cannot be explained is named, the others are explained all the same, and the exit
    code is 1.
    """
    if count and (place is None or url is not None):
        raise click.UsageError("--pick needs a --bundle")
    if (place is None) == (url is None):
        raise click.UsageError("give either --bundle or --url")
    if url is not None and top_labels > 1:
        raise click.UsageError("--top-labels needs a --bundle")
    if top_labels > 1 and (label is not None or count):
        raise click.UsageError("--top-labels goes with neither --label nor --pick")
    if limit and not count:
        raise click.UsageError("--limit goes with --pick")
    question = Question(
        label=label,
        num_features=num_features,
        num_samples=num_samples,
        mode=mode,
        segmentation=segmentation,
        positive_only=positive_only,
        seed=seed,
    )
    chosen = sources.expand(names, limited=url is None)
    if count:
        sources.require(names)
    if url is not None:
        _claim(out)
        with client.connect(url, PATH, question.model_dump(exclude_none=True)) as server:
            results = _explain_all(
                chosen,
                lambda data, _: [server.post(data, explainers.read_answer)],
                _Folder(out),
                quiet=as_json,
            )
    else:
        loaded = registry.load(str(place))
        if label is not None:
            loaded.labels.index(label)
        _claim(out)
        local = Local(loaded, question, top_labels)
        if count:
            from pintag.cli import picking

            failed = picking.run(local, chosen, count, limit or _LIMIT, out, as_json=as_json)
            click.get_current_context().exit(1 if failed else 0)
        results = _explain_all(chosen, local.answers, _Folder(out), quiet=as_json)
    if as_json:
        console.print_json(results)
    if any("error" in result for result in results):
        click.get_current_context().exit(1)


def _claim(out: Path) -> None:
    """Find out now, and not after minutes of work, whether the folder can be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error


class _Folder:
    """Where explanations are written, each under a name of its own."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stems: set[str] = set()

    def stem(self, name: str) -> str:
        """What the names of an image's files begin with: no other image's do."""
        stem = _safe("stdin" if name == sources.STDIN else Path(name).stem, _LONGEST_STEM)
        free = stem
        # Some file systems take no notice of case.
        for number in itertools.count(2):
            if free.casefold() not in self._stems:
                break
            free = f"{stem}-{number}"
        self._stems.add(free.casefold())
        return free

    def write(self, name: str, stem: str, told: Told, picture: Pixels) -> list[str]:
        """The overlay on a picture of the image, and the explanation; their paths."""
        from pintag import overlay

        label = _safe(told.content["label"], _LONGEST_LABEL)
        beginning = f"{stem}.{label}.{told.content['mode']}"
        drawn = overlay.png(told.overlay(picture))
        content = json.dumps({"image": name, **told.content}, indent=2) + "\n"
        paths = [self._out / (beginning + suffix) for suffix in (".png", ".json")]
        files.write_atomic(paths[0], drawn)
        files.write_atomic(paths[1], content)
        return [str(path) for path in paths]


def _safe(text: str, longest: int) -> str:
    """A part of a file's name that leads nowhere else, of so many bytes at most."""
    return _UNSAFE.sub("_", text).encode()[:longest].decode(errors="ignore")


def _explain_all(
    chosen: Sequence[Source], explainer: Explainer, folder: _Folder, *, quiet: bool
) -> list[dict[str, object]]:
    from pintag import overlay

    results: list[dict[str, object]] = []
    for number, (name, read) in enumerate(chosen, start=1):
        stem = folder.stem(name)
        bar = f"explaining {number}/{len(chosen)} {stem}"
        try:
            # Gone by the time that an answer or an error is told.
            with console.progress(bar, transient=True) as progress:
                data = read()
                answers = explainer(data, progress)
                picture = overlay.picture(data)
        except (ImageError, ExplainError) as error:
            results.append(sources.failed(name, error))
            continue
        for answer in answers:
            written = folder.write(name, stem, answer, picture)
            results.append({"image": name, **answer.content, "files": written})
            if not quiet:
                _tell(name, answer.content, written)
    return results


def _tell(name: str, content: Mapping[str, Any], written: Sequence[str]) -> None:
    lines = [
        f"{name}: {content['label']} {content['confidence']:.1%}",
        f"  {wording.claim(content)}",
        f"  {wording.count(content['samples'], 'sample')}, {content['seconds']['total']:.1f} s,"
        f" {wording.fit(content)}",
        *(f"  {path}" for path in written),
    ]
    for line in lines:
        console.out.print(escape(line), soft_wrap=True)
