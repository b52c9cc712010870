"""HAProxy in front of the replicas: its configuration and its supervisor."""
