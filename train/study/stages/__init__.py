"""The stages of a study. Each reads typed input, stores its result and knows whether it is done."""
