"""The nodes that a server runs on: their variables, addresses, ports and capacity."""
