"""HAProxy's folder: one for each user and each node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pintag.serve.ingress.installation import folders, remove_folder


def test_each_user_has_a_folder_for_haproxy_with_short_paths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in folders():
        monkeypatch.delenv(name, raising=False)
    paths = set()
    for user in (0, 70000, 4294967294):
        monkeypatch.setattr(os, "getuid", lambda user=user: user)
        path = Path(folders()["RAY_SERVE_HAPROXY_SOCKET_PATH"])
        paths.add(path)
        # Ray adds the node's id, the supervisor and HAProxy their endings; the kernel allows 107.
        socket = path.parent / ("0" * 56) / f"{path.name}.own.4194304.tmp"
        assert len(str(socket)) <= 107
    assert len(paths) == 3


def test_the_folder_of_one_node_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_SERVER_STATE_BASE", str(tmp_path))
    for node in ("mine", "other"):
        (tmp_path / node).mkdir()
        (tmp_path / node / "haproxy.cfg").write_text("")
    remove_folder("mine")
    remove_folder("a node without a folder")
    assert [folder.name for folder in tmp_path.iterdir()] == ["other"]


def test_a_folder_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_SOCKET_PATH", "/mine/admin.sock")
    assert folders()["RAY_SERVE_HAPROXY_SOCKET_PATH"] == "/mine/admin.sock"
