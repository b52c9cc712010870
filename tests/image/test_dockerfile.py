"""The Dockerfile: the files that it copies exist, its commands work, and no process runs as root.

These tests need no container engine. They run the instructions of the build stage in a folder, with
the packages of this installation instead of a download.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """The instructions of the file, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def arguments_of(word: str) -> list[str]:
    """The arguments of each instruction of one kind, such as COPY."""
    return [rest for kind, rest in instructions() if kind == word]


def ignored(path: str) -> bool:
    """Whether .dockerignore excludes a path: the last line that matches decides."""
    result = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parts = [path, *map(str, Path(path).parents)]
        if any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for part in parts):
            result = not line.startswith("!")
    return result


def test_hadolint_reports_nothing() -> None:
    # DL3008: versions of Debian's packages are not pinned; the base image determines them.
    command = [
        Path(sys.executable).with_name("hadolint"),
        "--ignore",
        "DL3008",
        ROOT / "Dockerfile",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_copied_files_exist_and_are_not_ignored() -> None:
    sources = [
        source
        for rest in arguments_of("COPY")
        if not rest.startswith("--from")
        for source in shlex.split(rest)[:-1]
    ]
    assert {"pintag", "serve", "requirements.lock"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


def test_every_package_of_the_project_is_copied() -> None:
    copied = {shlex.split(rest)[0] for rest in arguments_of("COPY")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= copied


@pytest.mark.parametrize(
    "path", [".git", ".venv", "demo", "tests/conftest.py", "docs", "serve/a.pyc"]
)
def test_other_files_are_not_sent_to_the_container_engine(path: str) -> None:
    assert ignored(path)


def test_the_image_runs_as_an_ordinary_user() -> None:
    last = [rest for word, rest in instructions() if word == "USER"][-1]
    assert last == "1000:1000"


def test_the_health_check_asks_the_server() -> None:
    (check,) = arguments_of("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == "wget"
    assert command[-1] == "http://127.0.0.1:8000/-/healthz"
    assert arguments_of("ENTRYPOINT") == ['["pintag"]']


@dataclass(frozen=True)
class Scratch:
    """A folder in place of the image's root."""

    root: Path

    def path(self, inside: str, at: str) -> Path:
        return self.root / str(Path(at, inside)).lstrip("/")

    def run(self, command: str, at: str) -> None:
        command = command.replace("/opt/pintag", str(self.root / "opt/pintag"))
        done = subprocess.run(
            ["sh", "-ec", command], cwd=self.path("", at), capture_output=True, text=True,
            check=False, env={**os.environ, "GPU": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """The result of the build stage."""
    scratch = Scratch(tmp_path_factory.mktemp("image"))
    at = "/"
    for word, rest in instructions()[1:]:
        if word == "FROM":
            break
        if word == "WORKDIR":
            at = rest
            scratch.path("", at).mkdir(parents=True, exist_ok=True)
        if word == "COPY":
            *sources, target = shlex.split(rest)
            for source in sources:
                copy(ROOT / source, scratch.path(target, at), into=target.endswith("/"))
        if word == "RUN":
            # This installation's packages instead of a download of gigabytes.
            if "--require-hashes" in rest:
                link_packages(scratch.root / "opt/pintag")
                continue
            # Only the project: the other packages are those of this environment.
            ours = " /opt/pintag/lib/python3.*/site-packages/pintag"
            scratch.run(re.sub(r" -j 0 (.*) /opt/pintag/lib", rf" \1{ours}", rest), at)
    return scratch


def copy(source: Path, target: Path, *, into: bool) -> None:
    path = target / source.name if into else target
    if source.is_dir():
        shutil.copytree(source, path, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, path)


def link_packages(venv: Path) -> None:
    """Link the packages of this environment into a new one, but not the project."""
    (site,) = venv.glob("lib/python*/site-packages")
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    for path in ours.iterdir():
        link = site / path.name
        if re.match(r"(__editable__|pintag|pip$|pip-|__pycache__)", path.name):
            continue
        # A new environment contains its own setuptools; the lock file replaces it.
        if link.is_dir():
            shutil.rmtree(link)
        if not link.exists():
            link.symlink_to(path)
    for old in site.glob("setuptools-*"):
        if not (ours / old.name).exists():
            shutil.rmtree(old)


def test_the_built_environment_has_the_command(scratch: Scratch) -> None:
    done = subprocess.run(
        [scratch.root / "opt/pintag/bin/pintag", "--version"],
        capture_output=True, text=True, check=True, cwd=scratch.root,
    )  # fmt: skip
    assert done.stdout.startswith("pintag, version")


def test_files_that_only_their_owner_can_read_are_readable_in_the_image(scratch: Scratch) -> None:
    (mode,) = [command for command in arguments_of("RUN") if "chmod" in command]
    private = scratch.root / "opt/pintag/configs/private.yaml"
    private.touch(mode=0o600)
    scratch.run(mode, "/")
    assert private.stat().st_mode & 0o777 == 0o644


def test_what_is_removed_from_the_image_is_removed_where_it_is_installed() -> None:
    """These tests do not run this instruction: here it would damage the installation."""
    removing = [command for command in arguments_of("RUN") if "tensorflow/include" in command]
    assert len(removing) == 1
    assert "--require-hashes" in removing[0]


def test_the_bytecode_is_not_compared_with_its_source(scratch: Scratch) -> None:
    code = next((scratch.root / "opt/pintag").rglob("pintag/core/__pycache__/errors.*.pyc"))
    # PEP 552: the flags after the magic number; 1 is an unchecked hash.
    assert int.from_bytes(code.read_bytes()[4:8], "little") == 1


def test_the_paths_of_haproxy_in_the_image_can_be_executed(scratch: Scratch) -> None:
    variables = dict(re.findall(r"(\w+)=(\S+)", arguments_of("ENV")[0]))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("RAY_SERVE_HAPROXY_BINARY_PATH", "PINTAG_HAPROXY", "PINTAG_PYTHON"):
        inside = variables[name].replace("python3.11", version)
        path = scratch.path(inside, "/")
        assert os.access(path, os.X_OK), f"{name}: {inside} cannot be executed"


def test_pages_and_templates_are_in_the_package(scratch: Scratch) -> None:
    code = (
        "from pintag.serve.api import pages; from pintag.explain import gallery; "
        "from pintag.report import rendering, view; "
        "rendering.html(view.Report('Title', ())); "
        "print(len(pages.ASSETS), pages.__file__)"
    )
    done = subprocess.run(
        [scratch.root / "opt/pintag/bin/python", "-c", code],
        capture_output=True, text=True, check=True, cwd=scratch.root,
    )  # fmt: skip
    count, path = done.stdout.split()
    assert int(count) > 5
    assert Path(path).is_relative_to(scratch.root)
