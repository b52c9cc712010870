"""The report of a study: its results as an HTML page and as Markdown."""
