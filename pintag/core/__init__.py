"""The foundation: errors, configuration, files, object storage, shared types."""
