"""The HTTP API: routes, schemas, errors, uploads, and the page."""
