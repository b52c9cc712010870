"""`pintag train`: early errors, and the summary at the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pintag.cli import train
from tests.conftest import CONFIGS, pintag
from tests.pintag import bundles
from tests.pintag.cli.conftest import Cli, run_and_print_slow_imports

SAMPLE = CONFIGS / "train" / "sample.yaml"


@pytest.mark.parametrize(
    ("override", "output"),
    [
        ("head.epoch=3", "unknown key 'head.epoch'; did you mean 'head.epochs'?"),
        ("heads.epochs=3", "unknown key 'heads'; did you mean 'head'?"),
        ("backbone.name=alexnet", "choose one of mobilenet, vgg16, resnet50, inception_v3, basic"),
        ("head.epochs=many", "'head.epochs': must be a whole number, such as 3"),
        ("head.epochs=0", "'head.epochs': must be at least 1"),
        ("head.widths=[0]", "'head.widths.0'"),
        ("head.epochs", "override 'head.epochs' is not of the form key=value"),
        ("seed.value=3", "'seed'"),
        ("head.widths=[1", "not valid YAML"),
    ],
)
def test_a_wrong_key_or_value_is_reported(
    cli: Cli, sample_dir: Path, tmp_path: Path, override: str, output: str
) -> None:
    out = tmp_path / "out"
    done = cli("train", SAMPLE, override, "--data", sample_dir, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert output in done.err
    assert not list(tmp_path.iterdir())


def test_all_wrong_keys_are_reported_together(cli: Cli, sample_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "my [config].yaml"
    config.write_text("haed: {epochs: 3}\nseed: -1\ninput_size: 31\n")
    done = cli("train", config, "--data", sample_dir)
    assert done.code == 1
    assert done.err.count(str(config)) == 3
    for words in ("'haed'; did you mean 'head'?", "'seed'", "'input_size'"):
        assert words in done.err


@pytest.mark.parametrize("content", [b"head: [", b"\xff\xfe\x00", b"- a list", b"a text", b"a: \0"])
def test_an_invalid_configuration_is_reported(
    cli: Cli, sample_dir: Path, tmp_path: Path, content: bytes
) -> None:
    config = tmp_path / "config.yaml"
    config.write_bytes(content)
    done = cli("train", config, "--data", sample_dir)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {config}: ")


@pytest.mark.parametrize("name", ["missing.yaml", "folder", "file/below.yaml"])
def test_an_unreadable_configuration_is_reported(
    cli: Cli, sample_dir: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    done = cli("train", tmp_path / name, "--data", sample_dir)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path / name}: cannot be read: ")


def test_a_missing_data_set_is_reported(cli: Cli, tmp_path: Path) -> None:
    done = cli("train", SAMPLE, "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {tmp_path / 'none'}: no such folder\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("folder", "options", "reason"),
    [
        ("out", (), "out exists; choose another --out, or give --overwrite"),
        ("out", ("--overwrite",), "out exists and is not a bundle; choose another --out"),
        ("out.run", (), "out.run exists and is not a run that can be resumed; remove it, choose"),
        ("out.run", ("--resume",), "out.run exists and is not a run that can be resumed"),
    ],
)
def test_the_folder_is_checked_before_the_images_are_read(
    cli: Cli, tmp_path: Path, folder: str, options: tuple[str, ...], reason: str
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "file").touch()
    out = tmp_path / "out"
    done = cli("train", SAMPLE, "--data", tmp_path / "none", "--out", out, *options)
    assert (done.code, done.out) == (1, "")
    assert reason in done.err


def test_a_complete_run_is_not_repeated_by_resuming(cli: Cli, tmp_path: Path) -> None:
    """So that a job can repeat one command until its bundle is there."""
    out = bundles.write(tmp_path / "out", "one")
    done = cli("train", SAMPLE, "--data", tmp_path / "none", "--out", out, "--resume", "--json")
    assert done.code == 0
    assert "out is complete; --overwrite trains it again" in done.err
    assert json.loads(done.out)["version"] == "one"


def test_the_default_data_set_is_the_folder_data(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("train", SAMPLE)
    assert done.code == 2
    assert "give --data; the default folder ./data does not exist" in done.err


def test_mistakes_are_reported_before_slow_imports(tmp_path: Path) -> None:
    # A missing data set is the last of them.
    done = run_and_print_slow_imports("train", SAMPLE, "--data", tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "\n"), done.stderr


@pytest.mark.keras
@pytest.mark.ray
def test_a_data_set_that_cannot_be_trained_on_is_refused(
    cli: Cli, sample_dir: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    shutil.rmtree(data / "train" / "art")
    done = cli("train", SAMPLE, "--data", data, "--out", tmp_path / "out")
    assert (done.code, done.out) == (1, "")
    assert f"{data} is unusable: label 'art' has no readable image in the train" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.keras
@pytest.mark.ray
def test_an_existing_bundle_is_kept(cli: Cli, bundle_dir: Path, sample_dir: Path) -> None:
    before = (bundle_dir / "bundle.json").read_bytes()
    done = cli("train", SAMPLE, "--data", sample_dir, "--out", bundle_dir)
    assert done.code == 1
    assert f"{bundle_dir} exists; choose another --out, or give --overwrite" in done.err
    assert (bundle_dir / "bundle.json").read_bytes() == before


@pytest.mark.keras
@pytest.mark.ray
def test_missing_weights_are_reported_with_the_remedy(sample_dir: Path, tmp_path: Path) -> None:
    # No server listens on port 9 of this machine, so every download is refused at once.
    done = pintag(
        "train", CONFIGS / "train/mobilenet.yaml", "--data", sample_dir, "--out", tmp_path / "out",
        KERAS_HOME=str(tmp_path), https_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    # With --json, standard output has nothing but JSON: no message about the download.
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    for words in ("mobilenet_1_0_160_tf_no_top.h5", f"{tmp_path}/models", "backbone.weights=none"):
        assert words in done.stderr


@pytest.mark.parametrize(
    ("gpu", "divided", "commands"),
    [
        (True, [], ["pintag serve --bundle 'my bundle'"]),
        (
            False,
            [],
            ["pintag optimize 'my bundle' --data pins", "pintag serve --bundle 'my bundle'"],
        ),
        (
            False,
            ["test"],
            [
                "pintag optimize 'my bundle' --data pins --seed 3",
                "pintag serve --bundle 'my bundle'",
            ],
        ),
    ],
)
def test_optimizing_comes_before_serving_on_processors(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, divided: list[str], commands: list[str]
) -> None:
    monkeypatch.setattr(train, "has_gpu", lambda: gpu)
    manifest = SimpleNamespace(training={"config": {"seed": 3}}, data={"divided": divided})
    bundle = SimpleNamespace(path=Path("my bundle"), manifest=manifest)
    assert train._next_commands(bundle, Path("pins")) == commands  # type: ignore[arg-type]


@pytest.mark.keras
@pytest.mark.ray
def test_training_prints_a_summary(bundle_dir: Path) -> None:
    """`pintag train` wrote `bundle_dir`."""
    manifest = json.loads((bundle_dir / "bundle.json").read_text())
    assert manifest["name"] == "sample"
    assert manifest["training"]["config"]["head"]["epochs"] == 16
    assert manifest["data"]["synthetic"] is True
    assert not bundle_dir.with_name(bundle_dir.name + ".run").exists()
