"""All commands: help, exit codes, and failing output."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from pintag.cli import commands, main
from pintag.core.version import __version__
from pintag.data import sample
from pintag.models.identity import Model
from pintag.models.registry import Registry
from pintag.serve.config import ServeConfig
from pintag.train.config import TrainConfig
from tests.conftest import PINTAG, pintag
from tests.keys import keys
from tests.pintag.cli.conftest import Cli

# Each command, and the words that its help must contain.
HELP = {
    "": ["data", "train", "evaluate", "tag", "explain", "serve", "--version", "Exit codes"],
    "data": ["sample", "check"],
    "data sample": ["OUT", "--seed", "--per-label", "--json", "SYNTHETIC"],
    "data check": ["DIR", "--seed", "--json", "code 1"],
    "train": ["CONFIG", "KEY=VALUE", "--data", "--out", "--resume", "--overwrite", "--json"],
    "evaluate": ["BUNDLE", "--data", "--split", "--batch-size", "--out", "--json"],
    "tag": ["IMAGE", "--bundle", "--url", "--max-tags", "--min-confidence", "--json"],
    "explain": [
        "IMAGE",
        "--bundle",
        "--url",
        "--out",
        "--label",
        "--top-labels",
        "--num-features",
        "--num-samples",
        "--mode",
        "--segmentation",
        "--positive-only",
        "--seed",
        "--pick",
        "--limit",
        "--json",
    ],
    "serve": ["--bundle", "--config", "--port", "KEY=VALUE"],
}
# Each takes a tenth of a second to several seconds to import.
HEAVY = ("tensorflow", "keras", "ray", "scipy", "matplotlib", "httpx", "fastapi", "skimage", "lime")
ALL_HELP = f"""
import sys
from pintag.cli.commands import command

for arguments in {[name.split() for name in HELP]}:
    command([*arguments, "--help"], standalone_mode=False)
print("imported:", *set(sys.modules) & set({HEAVY}))
"""


@pytest.mark.parametrize("command", HELP, ids=lambda command: command or "pintag")
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_option(cli: Cli, command: str, flag: str) -> None:
    done = cli(*command.split(), flag)
    assert (done.code, done.err) == (0, "")
    for words in HELP[command]:
        assert words in done.out


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", ALL_HELP], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["imported:"], done.stderr


def test_the_version_is_printed(cli: Cli) -> None:
    assert __version__ in cli("--version").out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["data"],
        ["paint"],
        ["--verbose"],
        ["data", "sample"],
        ["data", "sample", "out", "--per-label", "0"],
        ["data", "sample", "out", "--seed", "x"],
        ["data", "check"],
        ["data", "check", "one", "two"],
        ["data", "sample", "out", "--seed", "-1"],
        ["data", "check", ".", "--seed", "-1"],
        ["data", "check", ".", "--seed", "4294967296"],
        ["optimize", ".", "--seed", "-1"],
        ["train"],
        ["evaluate", "bundle"],
        ["evaluate", "bundle", "--data", ".", "--batch-size", "0"],
        ["serve"],
        ["serve", "--bundle", ".", "--port", "70000"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_with_the_usage(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage: pintag" in done.err


def test_a_pintag_error_is_one_line_and_exit_code_1(cli: Cli, tmp_path: Path) -> None:
    done = cli("data", "check", tmp_path / "nothing")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {tmp_path / 'nothing'}: no such folder\n"


def test_the_console_script_has_these_exit_codes(tmp_path: Path) -> None:
    assert pintag("data", "check", tmp_path / "nothing").returncode == 1
    assert pintag("data", "check").returncode == 2


def test_an_interruption_is_exit_code_1_and_no_traceback(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, "write", interrupted)
    done = cli("data", "sample", tmp_path / "data")
    assert (done.code, done.err.strip()) == (1, "interrupted")


INTERRUPTED = {
    "when it first imports a module of click": """
import os, signal, sys
from pintag.cli import main

class Interrupt:
    def find_spec(name, *rest):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt)
main()
""",
    "in a native module, which replaces the exception": """
import os, signal
from pintag.cli import commands, main

def load():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("initialization failed") from None

commands.run = load
main()
""",
}


@pytest.mark.parametrize("program", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interruption_of_the_imports_prints_no_traceback(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        # A process in the background ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "interrupted\n")


def test_an_import_error_without_an_interruption_is_a_defect(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        raise ImportError("no such module")

    monkeypatch.setattr(commands, "run", load)
    with pytest.raises(ImportError, match="no such module"):
        main()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_disk_behind_standard_output_is_one_line(
    sample_dir: Path, options: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PINTAG, "data", "check", sample_dir, *options],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    remedy = "free some space, or choose another folder"
    assert done.stderr == f"error: standard output: No space left on device; {remedy}\n"


def test_a_deleted_working_directory_is_one_line(tmp_path: Path) -> None:
    script = f'cd "$0" && rmdir "$0" && "{PINTAG}" models list models'
    folder = tmp_path / "deleted"
    folder.mkdir()
    done = subprocess.run(["sh", "-c", script, folder], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    problem = "the working directory was deleted; change to another folder"
    assert done.stderr.splitlines()[-1] == f"error: {problem}"


def test_a_closed_pipe_prints_no_traceback(sample_dir: Path) -> None:
    process = subprocess.Popen(
        [PINTAG, "data", "check", sample_dir, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == ""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_a_terminal_cannot_show_are_escaped(encoding: str, tmp_path: Path) -> None:
    name = "größe [red] 日本"
    sample.write(tmp_path / name, counts={"train": 1, "validation": 1, "test": 1}, size=32)
    done = subprocess.run(
        [PINTAG, "data", "check", name],
        capture_output=True,
        cwd=tmp_path,
        env={"PYTHONIOENCODING": encoding, "COLUMNS": "300"},
    )
    assert done.returncode == 0, done.stderr
    expected = name.encode(encoding, errors="backslashreplace")
    assert expected in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "config.yaml", "--out", ""], "--out is empty"),
        (["train", "config.yaml", "--out="], "--out is empty"),
        (["serve", "--bundle", "models", "--config", ""], "--config is empty"),
        (["models", "add", "runs/pins", ""], "an argument is empty"),
        (["", "--help"], "an argument is empty"),
    ],
)
def test_an_empty_argument_is_refused(cli: Cli, arguments: list[str], named: str) -> None:
    """As a path it would be the working directory, which `train` would replace."""
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert named in done.err


def test_control_characters_in_arguments_do_not_reach_the_terminal(cli: Cli) -> None:
    for arguments in (["tag", "a", "--\x1b[31m"], ["models", "list", "\x1b[31m"], ["\x1b[31m"]):
        done = cli(*arguments)
        assert done.code in (1, 2)
        assert "\\x1b[31m" in done.err
        assert "\x1b" not in done.err


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("train", ["input_size=160", "head.learning_rate=0.0001", "scaling.max_failures=3"]),
        ("serve", ["http.port=8000", "classifier.autoscaling.max_replicas=2", "engine=auto"]),
        ("study", ["seed=0", "svm.enabled=true", "models[].train.head.views=0"]),
    ],
)
def test_the_help_of_a_command_lists_keys_with_their_defaults(
    cli: Cli, command: str, lines: list[str]
) -> None:
    done = cli(command, "--help")
    assert done.code == 0
    assert [line for line in lines if f"  {line}\n" not in done.out] == []


@pytest.mark.parametrize(("command", "model"), [("train", TrainConfig), ("serve", ServeConfig)])
def test_no_key_of_a_configuration_is_missing_in_the_help(
    cli: Cli, command: str, model: type[BaseModel]
) -> None:
    listed = [line.partition("=")[0].strip() for line in cli(command, "--help").out.splitlines()]
    assert set(keys(model)) <= set(listed)


def test_a_saved_file_of_another_form_is_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        Model.model_validate({"name": "pins"})

    monkeypatch.setattr(Registry, "versions", read)
    done = cli("models", "list", "models")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: wrong Model in a saved file: version: is missing\n"
