"""What is given to a client of a server, and cannot be right."""

from __future__ import annotations

import pytest

from tests.pintag.cli.conftest import Cli


def test_a_uri_is_not_called_a_missing_file(cli: Cli) -> None:
    done = cli("tag", "s3://bucket/a.jpg", "--url", "http://localhost")
    assert (done.code, done.out) == (1, "")
    words = "a URI, not a file of this machine; `pintag bulk` reads URIs"
    assert done.err == f"error: s3://bucket/a.jpg: {words}\n"


@pytest.mark.parametrize(
    ("url", "words"), [("http://", "write http://HOST:PORT"), ("ftp://x", "begin with http://")]
)
def test_a_url_that_names_no_server_is_refused(cli: Cli, url: str, words: str) -> None:
    done = cli("tag", "-", "--url", url)
    assert done.code == 1
    assert done.err.startswith(f"error: {url}: not the URL of a server; {words}")
