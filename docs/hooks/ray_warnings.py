"""MkDocs hook: silence a warning that Ray causes when the next hook imports it.

MkDocs prints every warning about deprecations. This one concerns only the developers of Ray.
"""

from __future__ import annotations

import warnings

warnings.filterwarnings("ignore", "Using extra keyword arguments on `Field` is deprecated")
