"""The image: built by podman, and run with the least that a cluster would allow it.

Where the base image cannot be pulled, Debian's packages of Python stand in for it. Containers get
no network but their own loopback, so several may run beside servers of this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(1500)]

BASE = "docker.io/library/python:3.11-slim-bookworm"
IMAGE = "localhost/pintag-test:1"
RUN = (
    "run", "--init", "--network=none", "--read-only", "--tmpfs=/tmp:rw,size=2g,mode=1777",
    "--cap-drop=all", "--security-opt=no-new-privileges", "--stop-timeout=60",
    "--ulimit=nofile=20000:20000", "--ulimit=nproc=8192:8192",
)  # fmt: skip
# Words of pip and apt where they cannot reach what they download from.
NO_NETWORK = ("NewConnectionError", "SSLError", "ReadTimeoutError", "Temporary failure resolving")
MAX_BYTES = 2_600_000_000
# The layers, the image, and a copy of it on the way.
NEEDED_DISK_BYTES = 15 * 10**9
TAG = """
import sys, urllib.request
request = urllib.request.Request("http://{host}:8000/v1/tags", sys.stdin.buffer.read())
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def podman(
    *arguments: object, check: bool = True, stdin: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    # crun, which podman would choose, needs control groups of version 2; runc does not.
    command = ["podman", "--runtime=runc", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, input=stdin, timeout=1400)
    result = subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
    assert not check or done.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The base image: there already, pulled, or made of Debian's packages."""
    for program in ("podman", "runc", "debootstrap"):
        if shutil.which(program) is None or os.geteuid():
            pytest.skip(f"{program} is not installed, or the tests do not run as root")
    if shutil.disk_usage("/var/lib").free < NEEDED_DISK_BYTES:
        pytest.skip("/var/lib has less than 15 GB of free disk")
    if podman("image", "exists", BASE, check=False).returncode == 0:
        yield
        return
    if podman("pull", "--quiet", BASE, check=False).returncode:
        _import_debian(tmp_path_factory.mktemp("base") / "root")
    if podman(*RUN, "--rm", BASE, "true", check=False).returncode:
        podman("rmi", "--force", BASE)
        pytest.skip("podman cannot run a container here")
    yield
    podman("rmi", "--force", BASE)


def _import_debian(root: Path) -> None:
    packages = "--include=python3,python3-venv,ca-certificates"
    command = ["debootstrap", "--variant=minbase", packages, "bookworm", root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(
            f"neither the base image nor Debian's packages can be had: {done.stdout[-200:]}"
        )
    (root / "usr/bin/python").symlink_to("python3")
    path = "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    pack = ["tar", "-C", root, "-c", "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as archive:
        subprocess.run(
            ["podman", "import", "--change", path, "-", BASE],
            stdin=archive.stdout, capture_output=True, check=True,
        )  # fmt: skip
    assert archive.returncode == 0
    shutil.rmtree(root)


def settings_of_pip() -> list[str]:
    """The options with which this machine's pip finds the packages, for use in the build."""
    files = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
    return [f"--volume={file}:{file}:ro" for file in files if Path(file).exists()]


@pytest.fixture(scope="module")
def image(base: None) -> Iterator[str]:
    built = podman(
        "build", "--isolation=chroot", "--layers=false", "--format=docker", "--pull=never",
        "--network=host", *settings_of_pip(), "--tag", IMAGE, ROOT, check=False,
    )  # fmt: skip
    output = built.stdout + built.stderr
    if built.returncode and any(words in output for words in NO_NETWORK):
        pytest.skip(f"a build cannot reach the registries of packages here: {output[-300:]}")
    assert built.returncode == 0, output
    yield IMAGE
    podman("rmi", "--force", IMAGE)


@contextlib.contextmanager
def serving(bundle: Path, *options: str, host: str = "0.0.0.0") -> Iterator[str]:
    """A container that serves a bundle; yields its name when it serves."""
    name = f"pintag-test-{uuid.uuid4().hex[:8]}"
    podman(
        *RUN, *options, "--detach", "--name", name, f"--volume={bundle}:/models/pins:ro", IMAGE,
        "serve", "--bundle", "/models/pins", f"http.host={host}", "access.allow_anonymous=true",
    )  # fmt: skip
    try:
        wait_for(lambda: "Ctrl-C stops the server" in log(name), 300, "the container's server")
        yield name
    finally:
        podman("rm", "--force", name)


def log(name: str) -> str:
    done = podman("logs", name)
    assert podman("inspect", "--format={{.State.Status}}", name).stdout.strip() == "running", done
    return done.stdout + done.stderr


def stop(name: str) -> None:
    """Stop a container as an orchestrator does, and check that it ends in order."""
    podman("stop", name)
    assert podman("inspect", "--format={{.State.ExitCode}}", name).stdout == "0\n"
    assert "stopped" in podman("logs", name).stderr.splitlines()


def tag(name: str, image: Path, host: str = "127.0.0.1") -> str:
    code = TAG.format(host=host)
    return podman("exec", "-i", name, "python", "-c", code, stdin=image.read_bytes()).stdout


@pytest.fixture(scope="module")
def bundle(quick_dir: Path, run_dir: Path) -> Path:
    """A bundle that the container's user can read."""
    path = run_dir / "readable"
    shutil.copytree(quick_dir, path)
    subprocess.run(["chmod", "-R", "a+rX", path], check=True)
    return path


@pytest.fixture(scope="module")
def picture(sample_dir: Path) -> Path:
    return min((sample_dir / "test").rglob("*.jpg"))


def test_the_image_is_small(image: str) -> None:
    """Each new node of a cluster pulls it first. The base's own size differs."""
    size = int(podman("image", "inspect", "--format={{.Size}}", image).stdout)
    assert size <= MAX_BYTES


def test_a_container_with_the_least_privileges_serves_and_stops(
    image: str, bundle: Path, picture: Path
) -> None:
    with serving(bundle) as name:
        assert podman("exec", name, "id", "-u").stdout == "1000\n"
        assert '"label":"' in tag(name, picture)
        podman("healthcheck", "run", name)
        stop(name)


def test_a_container_with_little_shared_memory_and_an_unknown_user_serves(
    image: str, bundle: Path, picture: Path
) -> None:
    """Docker gives 64 MB by default, and OpenShift runs images as a user without a home."""
    with serving(bundle, "--shm-size=64m", "--user=4242:4242", host="::1") as name:
        assert '"label":"' in tag(name, picture, "[::1]")
        stop(name)


def test_doctor_names_what_a_container_lacks(image: str) -> None:
    enough = podman(*RUN, "--rm", "--shm-size=1g", image, "doctor")
    assert "FAIL" not in enough.stdout
    too_little = podman(*RUN, "--rm", "--shm-size=64m", image, "doctor", check=False)
    assert too_little.returncode == 1
    assert "docker run --shm-size 1g" in too_little.stdout


def test_the_image_has_no_folders_that_nobody_needs(image: str) -> None:
    packages = "/opt/pintag/lib/python3.11/site-packages"
    found = podman(*RUN, "--rm", "--entrypoint=ls", image, packages, f"{packages}/ray").stdout
    names = found.split()
    assert "pintag" in names
    assert "clang" not in names
    assert "jars" not in names
    found = podman(
        *RUN, "--rm", "--entrypoint=find", image, packages,
        "-type", "d", "(", "-name", "tests", "-o", "-path", "*/tensorflow/include", ")",
    ).stdout  # fmt: skip
    assert found == ""
