"""A Ray cluster: variables, connection, a node of this machine, actors, and errors in words."""
