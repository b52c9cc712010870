"""The Dockerfile: what it copies is there, what it runs works, and nobody runs as root.

There is no container engine at hand. Its instructions for the build stage are carried out in a
folder, but that its packages come from this installation instead of the network.
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
    """Of the whole file, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def of(word: str) -> list[str]:
    return [rest for each, rest in instructions() if each == word]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out: its last line that fits decides."""
    found = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parts = [path, *map(str, Path(path).parents)]
        if any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for part in parts):
            found = not line.startswith("!")
    return found


def test_hadolint_has_nothing_to_say() -> None:
    # Versions of Debian's packages are those of the base image's day.
    command = [
        Path(sys.executable).with_name("hadolint"),
        "--ignore",
        "DL3008",
        ROOT / "Dockerfile",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    sources = [
        source
        for rest in of("COPY")
        if not rest.startswith("--from")
        for source in shlex.split(rest)[:-1]
    ]
    assert {"pintag", "serve", "requirements.lock"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


def test_every_package_of_the_project_is_copied() -> None:
    copied = {shlex.split(rest)[0] for rest in of("COPY")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= copied


@pytest.mark.parametrize(
    "path", [".git", ".venv", "demo", "tests/conftest.py", "docs", "serve/a.pyc"]
)
def test_nothing_else_is_sent_to_the_engine(path: str) -> None:
    assert ignored(path)


def test_nobody_runs_as_root() -> None:
    last = [rest for word, rest in instructions() if word == "USER"][-1]
    assert last == "1000:1000"


def test_it_says_how_it_is() -> None:
    (check,) = of("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == "wget"
    assert command[-1] == "http://127.0.0.1:8000/-/healthz"
    assert of("ENTRYPOINT") == ['["pintag"]']


@dataclass(frozen=True)
class Scratch:
    """A folder in the place of the image's root."""

    root: Path

    def path(self, inside: str, at: str) -> Path:
        return self.root / str(Path(at, inside)).lstrip("/")

    def run(self, command: str, at: str) -> None:
        made = command.replace("/opt/pintag", str(self.root / "opt/pintag"))
        done = subprocess.run(
            ["sh", "-ec", made], cwd=self.path("", at), capture_output=True, text=True, check=False,
            env={**os.environ, "GPU": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )  # fmt: skip
        assert done.returncode == 0, f"{made}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """The build stage, carried out."""
    made = Scratch(tmp_path_factory.mktemp("image"))
    at = "/"
    for word, rest in instructions()[1:]:
        if word == "FROM":
            break
        if word == "WORKDIR":
            at = rest
            made.path("", at).mkdir(parents=True, exist_ok=True)
        if word == "COPY":
            *sources, target = shlex.split(rest)
            for source in sources:
                copy(ROOT / source, made.path(target, at), into=target.endswith("/"))
        if word == "RUN":
            # The packages of the lock are this installation's: a download would be of gigabytes.
            if "--require-hashes" in rest:
                borrow(made.root / "opt/pintag")
                continue
            # Its bytecode would be that of the whole installation.
            made.run(rest.replace(" -j 0 /opt", " /opt"), at)
    return made


def copy(source: Path, target: Path, *, into: bool) -> None:
    place = target / source.name if into else target
    if source.is_dir():
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, place)


def borrow(venv: Path) -> None:
    """Lend a new environment the packages of this one, but not the project."""
    (site,) = venv.glob("lib/python*/site-packages")
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    for path in ours.iterdir():
        place = site / path.name
        if re.match(r"(__editable__|pintag|pip$|pip-|__pycache__)", path.name):
            continue
        # A new environment comes with a setuptools of its own, which the lock replaces.
        if place.is_dir():
            shutil.rmtree(place)
        if not place.exists():
            place.symlink_to(path)
    for old in site.glob("setuptools-*"):
        if not (ours / old.name).exists():
            shutil.rmtree(old)


def test_the_built_environment_has_the_command(scratch: Scratch) -> None:
    done = subprocess.run(
        [scratch.root / "opt/pintag/bin/pintag", "--version"],
        capture_output=True, text=True, check=True, cwd=scratch.root,
    )  # fmt: skip
    assert done.stdout.startswith("pintag, version")


def test_the_server_finds_haproxy_where_the_image_says(scratch: Scratch) -> None:
    told = dict(re.findall(r"(\w+)=(\S+)", of("ENV")[0]))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("RAY_SERVE_HAPROXY_BINARY_PATH", "PINTAG_HAPROXY", "PINTAG_PYTHON"):
        inside = told[name].replace("python3.11", version)
        path = scratch.path(inside, "/")
        assert os.access(path, os.X_OK), f"{name}: {inside} cannot be executed"


def test_pages_and_templates_are_in_the_package(scratch: Scratch) -> None:
    code = (
        "from serve import pages; from pintag import gallery, report; "
        "print(len(pages.ASSETS), pages.__file__)"
    )
    done = subprocess.run(
        [scratch.root / "opt/pintag/bin/python", "-c", code],
        capture_output=True, text=True, check=True, cwd=scratch.root,
    )  # fmt: skip
    count, path = done.stdout.split()
    assert int(count) > 5
    assert Path(path).is_relative_to(scratch.root)
