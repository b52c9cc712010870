"""What a server needs of its nodes: variables, addresses, ports, capacity, calls on each."""
