"""The Python API: load a model, tag images, explain a tag. `import pintag` offers these names.

TensorFlow is imported only for a bundle without an OpenVINO model, LIME only for an explanation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, overload

import numpy as np

from pintag.core import config, machine
from pintag.core.errors import ConfigError, ImageError
from pintag.core.quiet import import_quietly
from pintag.core.types import Confidences, Engine, Pixels
from pintag.data.labels import Labels, Tag
from pintag.images import decoding
from pintag.models import registry
from pintag.models.bundle import EngineKind, ModelBundle, PrecisionKind
from pintag.models.identity import Model

if TYPE_CHECKING:
    # These import lime and scikit-image, which takes a second.
    from pintag.explain.image_explanation import ImageExplanation
    from pintag.explain.request import Algorithm, Mode

_BATCH = 32

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Pixels
"""One image: the path of a file, the bytes of a file, or RGB pixels as `uint8[H,W,3]`."""


def load(
    model: str | os.PathLike[str],
    *,
    version: str | None = None,
    engine: EngineKind = "auto",
    precision: PrecisionKind = "auto",
) -> Tagger:
    """Load a model and verify its files.

    Args:
        model: a bundle's folder, a registry's folder (its current version is loaded), or the
            `s3://` or `gs://` URI of either. A remote bundle is copied into the local cache.
        version: a version of the registry, or a prefix of only its name, instead of the current
            one.
        engine: `auto`, `openvino` or `tensorflow`. `auto` is TensorFlow on a GPU; on a CPU it is
            OpenVINO, if the bundle has a model for it.
        precision: `auto`, `fp32` or `int8`. `auto` is the fastest that the bundle has.

    Raises:
        BundleError: there is no bundle, it is damaged, or it has no such engine.
        ConfigError: `engine` or `precision` is none of these.
        DataError: the object store cannot be reached or refuses access.

    Examples:
        >>> tagger = pintag.load("runs/pins")
        >>> tagger = pintag.load("s3://bucket/models/pins", version="9ac40211f6d0-19f21e")
    """
    _check_choice("engine", engine, get_args(EngineKind))
    _check_choice("precision", precision, get_args(PrecisionKind))
    uri = os.fspath(model)
    bundle = registry.load(uri, version)
    choice = bundle.choose(engine, precision)
    if choice.kind == "tensorflow":
        import_quietly("keras")
    return Tagger(bundle, bundle.engine(choice))


class Tagger:
    """A loaded model that tags images and explains its tags.

    Attributes:
        bundle: the verified bundle; `bundle.manifest` has its metrics and training settings.
        engine: the engine that predicts; it is safe to call from several threads.

    Examples:
        >>> tagger.tag("cat.jpg", max_tags=1)
        [Tag(label='animals', confidence=0.97)]
        >>> tagger.explain("cat.jpg", mode="stable").save("why.png")
        >>> tagger.explain("cat.jpg", "food").save("why.png")
    """

    def __init__(self, bundle: ModelBundle, engine: Engine) -> None:
        """Use `pintag.load` in most cases."""
        self.bundle = bundle
        self.engine = engine

    def __repr__(self) -> str:
        manifest, engine = self.bundle.manifest, self.engine
        return (
            f"<Tagger {manifest.name} {manifest.version}: {len(self.labels)} labels,"
            f" {engine.name} {engine.precision}>"
        )

    @property
    def labels(self) -> Labels:
        """The labels in the order of the columns of `predict`."""
        return self.bundle.labels

    @overload
    def tag(
        self,
        image: str | os.PathLike[str] | bytes,
        *,
        max_tags: int | None = 3,
        min_confidence: float = 0.0,
    ) -> list[Tag]: ...

    @overload
    def tag(
        self,
        image: list[Any] | tuple[Any, ...],
        *,
        max_tags: int | None = 3,
        min_confidence: float = 0.0,
    ) -> list[list[Tag]]: ...

    @overload
    def tag(
        self, image: Pixels, *, max_tags: int | None = 3, min_confidence: float = 0.0
    ) -> list[Tag] | list[list[Tag]]: ...

    def tag(
        self,
        image: ImageSource | Sequence[ImageSource],
        *,
        max_tags: int | None = 3,
        min_confidence: float = 0.0,
    ) -> list[Tag] | list[list[Tag]]:
        """Tag one image or many.

        Args:
            image: one image (a path, the bytes of a file, `uint8[H,W,3]`), or many: a list or
                tuple of these, or `uint8[N,H,W,3]`.
            max_tags: at most this many tags of each image; `None` gives all labels.
            min_confidence: leave out tags below this probability, 0 to 1.

        Returns:
            The tags of the image, most confident first; a list of such lists for many images.

        Raises:
            ImageError: a file or an array is not an image that pintag accepts.
            ConfigError: `max_tags` or `min_confidence` is out of its range.
        """
        _check_selection(max_tags, min_confidence)
        if _is_single_image(image):
            row = self.predict([image])[0]  # type: ignore[list-item]
            return self.labels.top(row, max_tags, min_confidence)
        rows = self.predict(image)  # type: ignore[arg-type]
        return [self.labels.top(row, max_tags, min_confidence) for row in rows]

    def predict(self, images: Iterable[ImageSource]) -> Confidences:
        """The calibrated probability of every label for every image.

        Args:
            images: any number of paths, bytes of files, or arrays `uint8[H,W,3]`. They are decoded
                in threads and predicted 32 at a time.

        Returns:
            `float32[N,C]`: a row for each image, a column for each of `labels`; rows sum to one.

        Raises:
            ImageError: an item is not an image that pintag accepts.
        """
        read = partial(_read, size=self.engine.input_size)
        sources = list(images)
        rows = [np.empty((0, len(self.labels)), np.float32)]
        with ThreadPoolExecutor(machine.allowed_cpus()) as pool:
            for start in range(0, len(sources), _BATCH):
                pixels = list(pool.map(read, sources[start : start + _BATCH]))
                rows.append(self.engine.predict(np.stack(pixels)))
        return np.concatenate(rows)

    def explain(
        self,
        image: ImageSource,
        label: str | None = None,
        *,
        mode: Mode = "reference",
        num_features: int = 5,
        num_samples: int | None = None,
        segmentation: Algorithm = "quickshift",
        positive_only: bool = False,
        seed: int = 0,
    ) -> ImageExplanation:
        """Explain with LIME which parts of an image are evidence for a label. It takes seconds.

        Args:
            image: a path, the bytes of a file, or `uint8[H,W,3]`.
            label: the label to explain; by default the most confident one.
            mode: `reference` is LIME as published. `stable` takes fewer samples and reports how
                many of the first superpixels rank above the rest with statistical confidence.
            num_features: the number of superpixels to draw.
            num_samples: maximum number of perturbed images; by default 1,000, in stable mode 500.
            segmentation: `quickshift`, `slic` or `felzenszwalb`.
            positive_only: draw only evidence for the label.
            seed: equal seeds give equal explanations.

        Raises:
            ImageError: `image` is not an image that pintag accepts.
            DataError: the model has no such label.
            ConfigError: another argument is out of its range.
            ExplainError: the image has too many superpixels for stable mode.
        """
        return self._explain(image, {
            "label": label, "mode": mode, "num_features": num_features, "num_samples": num_samples,
            "segmentation": segmentation, "positive_only": positive_only, "seed": seed,
        })  # fmt: skip

    def _explain(self, image: ImageSource, values: Mapping[str, Any]) -> ImageExplanation:
        from pintag.explain.explanation import ExplainConfig, explain
        from pintag.explain.image_explanation import ImageExplanation
        from pintag.explain.request import ExplanationRequest

        request = config.parse(ExplanationRequest, values, source="explain()")
        index = None if request.label is None else self.labels.index(request.label)
        pixels = _read(image, self.engine.input_size)
        settings = ExplainConfig.from_request(request)
        explanation = explain(pixels, self.engine.predict, index, settings)
        manifest = self.bundle.manifest
        model = Model(name=manifest.name, version=manifest.version)
        return ImageExplanation(explanation, self.labels, model, _picture(image))


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name}: one of {', '.join(choices)}, not {value!r}")


def _check_selection(max_tags: int | None, min_confidence: float) -> None:
    if max_tags is not None and (not isinstance(max_tags, Integral) or max_tags < 1):
        raise ConfigError(f"max_tags: a positive integer or None, not {max_tags!r}")
    if not 0 <= min_confidence <= 1:
        raise ConfigError(f"min_confidence: a number from 0 to 1, not {min_confidence!r}")


def _is_single_image(image: object) -> bool:
    """Whether it is one image; a list, a tuple or an array of four dimensions is many.

    Anything else counts as one image: an open file, for example, would be iterated by lines.
    """
    if isinstance(image, np.ndarray):
        return image.ndim != 4
    return not isinstance(image, list | tuple)


def _read(image: ImageSource, size: int) -> Pixels:
    """Decode or resize an image for the network: `uint8[size,size,3]`."""
    if isinstance(image, np.ndarray):
        return decoding.resize(image, size)
    if isinstance(image, bytes | bytearray | memoryview):
        return decoding.decode(bytes(image), size)
    if not isinstance(image, str | os.PathLike) or "\0" in os.fspath(image):
        raise ImageError(
            f"{image!r} is not an image: give a path, the bytes of a file, or an array "
            "uint8[H,W,3]; of a PIL image np.asarray(image.convert('RGB'))"
        )
    return decoding.read(Path(image), size)


def _picture(image: ImageSource) -> Pixels:
    """The image with its original proportions, scaled for viewing: `uint8[H,W,3]`."""
    from pintag.explain import overlay

    if isinstance(image, np.ndarray):
        return overlay.picture(overlay.png(image))
    if isinstance(image, str | os.PathLike):
        return overlay.picture(Path(image).read_bytes())
    return overlay.picture(bytes(image))
