"""The package `serve` of release 0.1: only `serve.app` is left."""
