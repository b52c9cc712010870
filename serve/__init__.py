"""How models answer: Ray Serve around the library in `pintag`."""
