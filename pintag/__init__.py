"""pintag tags images with calibrated probabilities and explains each tag.

```python
import pintag

tagger = pintag.load("runs/pins")
tagger.tag("cat.jpg")
tagger.explain("cat.jpg", mode="stable").save("why.png")
```

`pintag.load` returns a `Tagger`, `Tagger.tag` returns `Tag`s, and `Tagger.explain` returns an
`ImageExplanation`. Every error that pintag raises on purpose is a `PintagError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pintag.core.errors import PintagError
from pintag.core.version import __version__

if TYPE_CHECKING:
    from pintag.data.labels import Tag
    from pintag.explain.image_explanation import ImageExplanation
    from pintag.tagger import Tagger, load

__all__ = ["ImageExplanation", "PintagError", "Tag", "Tagger", "__version__", "load"]

# Imported at first use: `import pintag` has to stay quick for the command and for Ray's workers.
_MODULES = {
    "ImageExplanation": "pintag.explain.image_explanation",
    "Tag": "pintag.data.labels",
    "Tagger": "pintag.tagger",
    "load": "pintag.tagger",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
