"""The deployments of Ray Serve: classifier, explainer and candidate, and their roll-outs."""
