"""Models: backbones, networks, engines, bundles and registries."""
