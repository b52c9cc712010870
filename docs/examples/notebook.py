# %% [markdown]
# # Tag images and explain a tag
#
# Open this file as a notebook (VS Code, PyCharm and Jupytext read its cells), or run it:
#
# ```console
# pintag data sample demo/data
# pintag train configs/train/sample.yaml --data demo/data --out demo/bundle
# python docs/examples/notebook.py
# ```

# %%
from pathlib import Path

import numpy as np
from PIL import Image

import pintag

BUNDLE = "demo/bundle"
IMAGES = sorted(Path("demo/data/test").rglob("*.jpg"))

# %% [markdown]
# ## Load a model
# `pintag.load` takes the folder of a bundle or of a registry, or the `s3://` URI of either.

# %%
tagger = pintag.load(BUNDLE)
print(tagger)
print(", ".join(tagger.labels))

# %% [markdown]
# ## Tag
# For one image `tag` returns a list of tags, the most confident first. For many images it returns
# a list of such lists.

# %%
for tag in tagger.tag(IMAGES[0]):
    print(f"{tag.label:12} {tag.confidence:.1%}")

# %%
for path, (best, *_) in zip(IMAGES, tagger.tag(IMAGES[:8]), strict=False):
    print(f"{path.name:20} {best.label:12} {best.confidence:.1%}")

# %% [markdown]
# An image may also be an array of RGB pixels, `uint8[H,W,3]`. `predict` returns the probability of
# every label as one array, for your own statistics.

# %%
pixels = np.asarray(Image.open(IMAGES[0]).convert("RGB"))
print(tagger.tag(pixels, max_tags=1))
print(tagger.predict(IMAGES[:8]).shape)

# %% [markdown]
# ## Explain
# Blue superpixels are evidence for the label, orange ones against it. If an explanation is the last
# expression of a cell, Jupyter displays it as a picture.

# %%
explanation = tagger.explain(IMAGES[0], mode="stable", num_samples=200)
print(explanation)
print("\n".join(explanation.summary))
explanation.save("explanation.png")
