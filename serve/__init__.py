"""The HTTP server: Ray Serve applications that run the library's models."""
