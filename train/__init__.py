"""How models are made, on one machine or many: Ray Train around the library in `pintag`."""
