"""Whether a server can run here: the checks of `pintag doctor`."""
