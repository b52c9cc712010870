"""The model bundle: what is saved comes back, and what was altered does not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag import bundle, files, networks, openvino_engine
from pintag.bundle import MANIFEST, WEIGHTS, ModelBundle
from pintag.engine import TensorFlowEngine
from pintag.errors import BundleError
from pintag.labels import Labels
from pintag.networks import NetworkSpec

pytestmark = pytest.mark.keras

LABELS = Labels(("art", "food", "travel"))
SPEC = NetworkSpec(backbone="basic_cnn", input_size=32, widths=(8,), dropout=0.5, num_labels=3)
# Of one colour each: pure noise looks alike to a network.
COLOURS = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)], np.uint8)
PIXELS = np.broadcast_to(COLOURS[:, np.newaxis, np.newaxis], (5, 32, 32, 3))


@pytest.fixture(scope="module")
def network() -> Any:
    """A network of random weights, large enough for its answers to differ."""
    made = networks.build(SPEC)
    logits = made.get_layer("head").get_layer("logits")
    logits.kernel.assign(logits.kernel * 20)
    return made


def save(path: Path, network: Any, **changes: Any) -> ModelBundle:
    """A bundle as it comes, but for `changes`."""
    values: dict[str, Any] = {
        "spec": SPEC,
        "labels": LABELS,
        "temperature": 1.5,
        "metrics": {"test": {"accuracy": 0.5}},
        "training": {"config": {"seed": 3}},
        "data": {"fingerprint": "f" * 64, "synthetic": True},
        "extra": {"confusion.png": b"\x89PNG picture", "history.json": b"[]"},
    }
    return bundle.save(path, network, **(values | changes))


@pytest.fixture
def saved(network: Any, tmp_path: Path) -> Path:
    save(tmp_path / "model", network)
    return tmp_path / "model"


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Alter the manifest as someone would who knows what it is."""
    content = json.loads((path / MANIFEST).read_text())
    change(content)
    (path / MANIFEST).write_text(json.dumps(content))


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_loaded_bundle_answers_as_the_one_saved(network: Any, saved: Path) -> None:
    expected = TensorFlowEngine(network, temperature=1.5).predict(PIXELS)
    assert np.ptp(expected, axis=0).max() > 0.1
    loaded = bundle.load(saved)
    np.testing.assert_array_equal(loaded.engine().predict(PIXELS), expected)
    np.testing.assert_array_equal(loaded.network()(PIXELS), network(PIXELS))


def test_a_transfer_network_comes_back_whole(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"backbone": "mobilenet", "alpha": 0.25})
    network = networks.build(spec)
    # Statistics of a trained backbone are not those that a new one begins with.
    for variable in network.weights:
        if variable.path.endswith("moving_variance"):
            variable.assign(variable * 0.01)
    loaded = save(tmp_path / "model", network, spec=spec).network()
    expected = np.array(network(PIXELS))
    assert np.ptp(expected, axis=0).max() > 0
    np.testing.assert_array_equal(loaded(PIXELS), expected)


def test_a_loaded_bundle_knows_what_it_was_given(saved: Path) -> None:
    loaded = bundle.load(saved)
    manifest = loaded.manifest
    assert loaded.path == saved
    assert loaded.labels == LABELS
    assert manifest.network == SPEC
    assert (manifest.name, manifest.temperature) == ("basic_cnn", 1.5)
    assert manifest.preprocessing == "pixels / 255"
    assert manifest.metrics == {"test": {"accuracy": 0.5}}
    assert manifest.training == {"config": {"seed": 3}}
    assert manifest.data == {"fingerprint": "f" * 64, "synthetic": True}
    assert set(manifest.files) == {WEIGHTS, "confusion.png", "history.json"}
    assert {"pintag", "keras", "tensorflow"} <= set(manifest.libraries)
    assert manifest.created.utcoffset() is not None


def test_saving_says_what_loading_says(network: Any, tmp_path: Path) -> None:
    assert save(tmp_path / "model", network, name="pins-2") == bundle.load(tmp_path / "model")


def test_a_bundle_may_be_moved(saved: Path, tmp_path: Path) -> None:
    moved = saved.rename(tmp_path / "ünder [another] name")
    assert bundle.load(moved).engine().predict(PIXELS).shape == (5, 3)


def test_a_bundle_holds_weights_and_text_and_nothing_that_runs(saved: Path) -> None:
    files = contents(saved)
    assert set(files) == {MANIFEST, WEIGHTS, "confusion.png", "history.json"}
    assert files[WEIGHTS].startswith(b"\x89HDF")
    for content in files.values():
        # Protocol 2 and later open with these, and Keras marks code with the names.
        assert not content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
        assert b"lambda" not in content
        assert b"class_name" not in content


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", [WEIGHTS, "confusion.png"])
@pytest.mark.parametrize(
    "alter",
    [flip_a_byte, Path.unlink, lambda file: file.write_bytes(file.read_bytes() + b"\0")],
    ids=["a byte flipped", "missing", "a byte more"],
)
def test_an_altered_file_is_named(saved: Path, name: str, alter: Callable[[Path], object]) -> None:
    alter(saved / name)
    with pytest.raises(BundleError) as caught:
        bundle.load(saved)
    assert str(caught.value).startswith(f"{saved / name}: ")


def test_a_folder_in_the_place_of_a_file_is_named(saved: Path) -> None:
    (saved / "confusion.png").unlink()
    (saved / "confusion.png").mkdir()
    with pytest.raises(BundleError, match=r"confusion\.png"):
        bundle.load(saved)


def test_a_link_is_as_good_as_what_it_points_to(saved: Path, tmp_path: Path) -> None:
    weights = (saved / WEIGHTS).rename(tmp_path / "weights")
    (saved / WEIGHTS).symlink_to(weights)
    assert bundle.load(saved).engine().predict(PIXELS).shape == (5, 3)
    flip_a_byte(weights)
    with pytest.raises(BundleError, match=WEIGHTS):
        bundle.load(saved)
    weights.unlink()
    with pytest.raises(BundleError, match=WEIGHTS):
        bundle.load(saved)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"weights: 1", b"\xff\xfe", b"[]", b"null", b'"text"', b"[" * 100_000, b'{"a": 1}'],
    ids=lambda content: repr(content[:12]),
)
def test_a_manifest_that_is_none_is_named(saved: Path, content: bytes) -> None:
    (saved / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        bundle.load(saved)
    assert str(saved / MANIFEST) in str(caught.value)


def test_a_manifest_that_is_a_folder_is_named(saved: Path) -> None:
    (saved / MANIFEST).unlink()
    (saved / MANIFEST).mkdir()
    with pytest.raises(BundleError, match=r"bundle\.json: cannot be read"):
        bundle.load(saved)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"licence": "MIT"}, "unknown key 'licence'"),
        ({"format": 2}, "format"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"labels": ["food", "art", "travel"]}, "sorted"),
        ({"labels": ["art", "art", "food"]}, "unique"),
        ({"labels": ["art", "food"]}, "2 labels, and a network of 3"),
        ({"name": "../x"}, "name"),
        ({"version": ""}, "version"),
        ({"created": "yesterday"}, "created"),
        ({"files": {}}, f"{WEIGHTS} is not listed"),
        ({"files": {WEIGHTS: "0" * 63}}, "files"),
        ({"files": {WEIGHTS: "F" * 64}}, "files"),
        ({"network": None}, "network"),
    ],
    ids=str,
)
def test_a_manifest_with_a_wrong_value_is_refused(
    saved: Path, change: dict[str, object], named: str
) -> None:
    rewrite(saved, lambda content: content.update(change))
    with pytest.raises(BundleError) as caught:
        bundle.load(saved)
    assert str(saved / MANIFEST) in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize("key", ["labels", "network", "temperature", "files", "version"])
def test_a_manifest_without_what_it_must_say_is_refused(saved: Path, key: str) -> None:
    rewrite(saved, lambda content: content.pop(key))
    with pytest.raises(BundleError, match=key):
        bundle.load(saved)


@pytest.mark.parametrize("key", ["widths", "num_labels"])
def test_an_unknown_key_inside_the_network_is_suggested_for(saved: Path, key: str) -> None:
    rewrite(saved, lambda content: content["network"].update({f"{key}_": 1}))
    with pytest.raises(BundleError, match=rf"'network\.{key}_'; did you mean 'network\.{key}'"):
        bundle.load(saved)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "figures/../../secret", "..\\secret", "..", "/"]
)
def test_a_file_outside_the_bundle_is_never_opened(saved: Path, name: str) -> None:
    (saved.parent / "secret").write_bytes(b"secret")
    rewrite(saved, lambda content: content["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError, match="outside the bundle"):
        bundle.load(saved)


@pytest.mark.parametrize("name", ["", ".", "a\0b", "x" * 5000], ids=["", ".", "nul", "long"])
def test_a_name_that_no_file_can_have_is_refused(saved: Path, name: str) -> None:
    rewrite(saved, lambda content: content["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError):
        bundle.load(saved)


@pytest.mark.parametrize(
    "change", [{"widths": [9]}, {"input_size": 48}, {"backbone": "mobilenet"}], ids=str
)
def test_weights_of_another_network_are_named(saved: Path, change: dict[str, object]) -> None:
    rewrite(saved, lambda content: content["network"].update(change))
    with pytest.raises(BundleError) as caught:
        bundle.load(saved).network()
    assert str(caught.value).startswith(f"{saved / WEIGHTS}: does not fit its network")


def test_weights_that_are_none_are_named(saved: Path) -> None:
    junk = b"not weights"
    (saved / WEIGHTS).write_bytes(junk)
    digest = hashlib.sha256(junk).hexdigest()
    rewrite(saved, lambda content: content["files"].update({WEIGHTS: digest}))
    with pytest.raises(BundleError) as caught:
        bundle.load(saved).engine()
    assert str(caught.value).startswith(f"{saved / WEIGHTS}: does not fit its network")


@pytest.mark.parametrize("name", ["nothing", "empty", "file", "file/below"])
def test_a_place_without_a_bundle_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"no bundle here: bundle\.json is missing") as caught:
        bundle.load(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_bundle_takes_the_place_of_an_older_one(network: Any, saved: Path) -> None:
    save(saved, network, temperature=2.0, extra={})
    assert bundle.load(saved).manifest.temperature == 2.0
    assert set(contents(saved.parent)) == {f"model/{MANIFEST}", f"model/{WEIGHTS}"}


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_save_leaves_the_old_bundle(
    network: Any, saved: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    before = contents(saved.parent)

    def interrupted(*_: object) -> None:
        raise failure

    # The last thing that a save writes; everything else lies on the disk already.
    monkeypatch.setattr(files, "write_atomic", interrupted)
    with pytest.raises(failure):
        save(saved, network, temperature=2.0)
    assert contents(saved.parent) == before
    assert bundle.load(saved).manifest.temperature == 1.5


def test_a_file_that_cannot_be_written_leaves_the_old_bundle(network: Any, saved: Path) -> None:
    before = contents(saved.parent)
    # No file system takes so long a name.
    with pytest.raises(BundleError) as caught:
        save(saved, network, extra={"x" * 300: b""})
    assert str(caught.value).startswith(f"{saved}: cannot be written")
    assert contents(saved.parent) == before


@pytest.mark.parametrize("name", ["file", "file/below", "file/further/below"])
def test_a_place_that_cannot_be_written_is_named(network: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("keep")
    with pytest.raises(BundleError) as caught:
        save(tmp_path / name, network)
    assert str(caught.value).startswith(f"{tmp_path / name}: cannot be written")
    assert contents(tmp_path) == {"file": b"keep"}


def test_a_saved_bundle_is_as_open_as_any_folder(saved: Path) -> None:
    assert oct(saved.stat().st_mode & 0o555) == oct(0o555)
    for file in saved.iterdir():
        assert os.access(file, os.R_OK)
        assert file.stat().st_mode & 0o444 == 0o444


def test_equal_content_has_an_equal_version(network: Any, tmp_path: Path) -> None:
    first = save(tmp_path / "one", network).manifest
    # Notes about a model are not the model.
    second = save(tmp_path / "two", network, name="other", metrics={}, extra={}).manifest
    # And Keras names the layers of a second network in a process by other numbers.
    again = networks.build(SPEC)
    for new, old in zip(again.weights, network.weights, strict=True):
        new.assign(old)
    third = save(tmp_path / "three", again).manifest
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    fourth = bundle.load(tmp_path / "copy").manifest
    assert first.version == second.version == third.version == fourth.version


def test_what_changes_an_answer_changes_the_version(network: Any, tmp_path: Path) -> None:
    other = networks.build(SPEC)
    for new, old in zip(other.weights, network.weights, strict=True):
        new.assign(old)
    other.weights[-1].assign(other.weights[-1] + 1e-3)
    wider = NetworkSpec(**(SPEC.model_dump() | {"dropout": 0.25}))
    different: list[tuple[Any, dict[str, Any]]] = [
        (network, {}),
        (other, {}),
        (network, {"labels": Labels(("art", "food", "trips"))}),
        (network, {"temperature": 1.5000001}),
        (network, {"spec": wider}),
    ]
    versions = [
        save(tmp_path / str(number), chosen, **changes).manifest.version
        for number, (chosen, changes) in enumerate(different)
    ]
    assert len(set(versions)) == len(versions)


RECORD = bundle.EngineRecord(accuracy=0.9, agreement=0.99, images=100)


def optimized(path: Path, network: Any, *precisions: Any, **records: Any) -> ModelBundle:
    """A bundle with OpenVINO models: the same graph in each, as nothing here computes in int8."""
    made = save(path, network)
    model = openvino_engine.convert(network, 1.5)
    content = {}
    for precision in precisions:
        name = bundle.engine_file(precision)
        openvino_engine.save(model, path.parent / name)
        for file in (path.parent / name, (path.parent / name).with_suffix(".bin")):
            content[file.name] = file.read_bytes()
    return bundle.extend(made, content, dict.fromkeys(precisions, RECORD) | records)


def test_the_fastest_engine_is_chosen(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "model"
    assert save(path, network).choose() == ("tensorflow", "fp32")
    assert optimized(path, network, "fp32").choose() == ("openvino", "fp32")
    assert optimized(path, network, "fp32", "int8").choose() == ("openvino", "int8")


@pytest.mark.parametrize(
    ("kind", "precision", "chosen"),
    [
        ("auto", "fp32", ("openvino", "fp32")),
        ("openvino", "fp32", ("openvino", "fp32")),
        ("openvino", "auto", ("openvino", "int8")),
        ("auto", "int8", ("openvino", "int8")),
        ("tensorflow", "auto", ("tensorflow", "fp32")),
        ("tensorflow", "fp32", ("tensorflow", "fp32")),
    ],
)
def test_another_engine_may_be_asked_for(
    network: Any, tmp_path: Path, kind: Any, precision: Any, chosen: tuple[str, str]
) -> None:
    made = optimized(tmp_path / "model", network, "fp32", "int8")
    assert made.choose(kind, precision) == chosen
    engine = made.engine(made.choose(kind, precision))
    assert (engine.name, engine.precision) == chosen


@pytest.mark.parametrize(
    ("precision", "chosen"),
    [("auto", ("tensorflow", "fp16")), ("fp32", ("tensorflow", "fp32")), ("int8", None)],
)
def test_a_gpu_is_tensorflows(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any, chosen: Any
) -> None:
    """What is chosen where a GPU is seen; none is at hand to run it on."""
    made = optimized(tmp_path / "model", network, "fp32", "int8")
    monkeypatch.setattr(bundle, "has_gpu", lambda: True)
    assert made.choose("auto", precision) == (chosen or ("openvino", "int8"))
    assert made.choose("openvino") == ("openvino", "int8")


def test_half_precision_and_padding_answer_nearly_the_same(
    network: Any, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine of a GPU, compiled by XLA for this processor."""
    monkeypatch.setattr(bundle, "has_gpu", lambda: True)
    monkeypatch.setattr(bundle, "GPU_BATCHES", (1, 4))
    engine = bundle.load(saved).engine()
    assert (engine.name, engine.precision) == ("tensorflow", "fp16")
    expected = TensorFlowEngine(network, temperature=1.5).predict(PIXELS)
    np.testing.assert_allclose(engine.predict(PIXELS), expected, atol=0.02)
    # The policy of the process is what it was.
    assert networks.build(SPEC).compute_dtype == "float32"


def test_a_model_that_is_not_there_is_an_error_that_says_how_to_make_it(saved: Path) -> None:
    with pytest.raises(BundleError, match=r"no model for OpenVINO; `pintag optimize` makes them"):
        bundle.load(saved).choose("openvino")
    with pytest.raises(BundleError, match="no int8 model"):
        bundle.load(saved).choose("auto", "int8")


def test_a_model_that_was_refused_says_why(network: Any, tmp_path: Path) -> None:
    refused = RECORD.model_copy(update={"refused": "accuracy falls from 90.00% to 10.00%"})
    made = optimized(tmp_path / "model", network, "fp32", int8=refused)
    assert made.choose() == ("openvino", "fp32")
    with pytest.raises(BundleError, match=r"no int8 model.*\(accuracy falls from 90"):
        made.choose("openvino", "int8")


def test_openvino_answers_as_the_network_does(network: Any, tmp_path: Path) -> None:
    made = bundle.load(optimized(tmp_path / "model", network, "fp32").path)
    expected = TensorFlowEngine(network, temperature=1.5).predict(PIXELS)
    np.testing.assert_allclose(made.engine().predict(PIXELS), expected, atol=1e-5)


def test_a_graph_that_is_none_is_named(network: Any, tmp_path: Path) -> None:
    made = optimized(tmp_path / "model", network, "fp32")
    (made.path / "openvino-fp32.xml").write_text("<net/>")
    with pytest.raises(BundleError, match=r"openvino-fp32\.xml: "):
        made.engine()


def test_other_engines_are_another_version_and_the_same_ones_the_same(
    network: Any, tmp_path: Path
) -> None:
    plain = save(tmp_path / "model", network)

    def version(made: ModelBundle, graph: bytes) -> str:
        return bundle.extend(made, {"openvino-fp32.bin": graph}, {}).manifest.version

    one, other = version(plain, b"one"), version(plain, b"other")
    assert one != other
    for each in (one, other):
        assert each.startswith(f"{plain.manifest.version}-")
    assert version(bundle.load(plain.path), b"one") == one


def test_extending_keeps_what_was_there_and_replaces_models(network: Any, tmp_path: Path) -> None:
    made = optimized(tmp_path / "model", network, "fp32", "int8")
    assert {WEIGHTS, "confusion.png", "history.json"} < set(made.manifest.files)
    again = bundle.load(bundle.extend(made, {}, {}).path)
    assert set(again.manifest.files) == {WEIGHTS, "confusion.png", "history.json"}
    assert again.manifest.openvino == {}
