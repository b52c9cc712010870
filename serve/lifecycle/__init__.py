"""From the start of a server to its end: deployments, roll-outs, shutdown."""
