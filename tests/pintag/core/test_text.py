"""Text from outside: names that are not UTF-8, and control characters."""

from __future__ import annotations

import os

import pytest

from pintag.core import text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        ("café 日本 🍣.jpg".encode(), "café 日本 🍣.jpg"),
        (b"\xff\xfe", "\\xff\\xfe"),
    ],
)
def test_a_name_that_is_not_utf8_shows_its_bytes(name: bytes, expected: str) -> None:
    decoded = os.fsdecode(name)
    assert text.valid(decoded) == text.printable(decoded) == expected
    assert text.is_utf8(decoded) == (decoded == expected)


def test_any_lone_surrogate_is_escaped() -> None:
    assert text.valid("\ud800 \udfff") == "\\ud800 \\udfff"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("next\u2028line", "next\\u2028line"),
        ("gpj.\u202ecat", "gpj.\\u202ecat"),
        ("zero\u200djoiner and\u00a0space", "zero\u200djoiner and\u00a0space"),
    ],
)
def test_control_characters_do_not_reach_a_terminal(name: str, expected: str) -> None:
    assert text.printable(name) == expected
    assert text.valid(name) == name


def test_chosen_control_characters_are_kept() -> None:
    assert text.printable("a\nb\tc", keep="\n") == "a\nb\\tc"
