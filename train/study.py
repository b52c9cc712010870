"""A study: every model fitted on one data set, compared on the same images, and the best kept.

Every part is written to the study's folder as soon as it is done, and is not done again.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pintag import bundle, calibration, evaluation, files, images, inspection, leaks, overlay
from pintag.dataset import TEST, TRAIN, VALIDATION, DataSet, Example
from pintag.engine import Engine, TensorFlowEngine
from pintag.errors import DataError, ExplainError, PintagError, TrainingError
from pintag.explain import ExplainConfig, explain
from pintag.results import (
    CrossValidation,
    Data,
    Entry,
    Explained,
    Leak,
    Prediction,
    Results,
    Timings,
)
from pintag.results import (
    Trial as TrialResult,
)
from train import cluster, extraction, fit, plan, scoring, trials
from train.config import TrainConfig
from train.extraction import Extraction
from train.learners import Outcome, SvmConfig
from train.ledger import Ledger
from train.plan import Candidate, StudyConfig
from train.trials import Resources, RowsOf, Trial

Watch = Callable[[str, float, int], None]
"""Told a stage, how much of it is done, and how much there is."""

RESULTS, TIMINGS = "results.json", "timings.json"
# Below the smallest confidence that float32 can hold, for the logarithm of a zero.
_TINY = 1e-38
_BATCHES = (1, 8, 32)
# Wall seconds for which each batch size is timed at least.
_TIMED_SECONDS = 1.0


def run(
    config: StudyConfig,
    data: DataSet,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    drop_leaks: bool = False,
    watch: Watch | None = None,
) -> tuple[Results, Timings]:
    """Run a study on a Ray cluster: the one of `RAY_ADDRESS`, else a local one.

    Args:
        resume: go on with the study in `out`, which must be of the same request.
        overwrite: replace a study that stands there.
        drop_leaks: move pictures that lie on two sides of a split to the earlier one.

    Raises:
        DataError: the data set is unusable.
        TrainingError: `out` is taken or cannot be written, or no model could be fitted.
        KeyboardInterrupt: the user interrupted; the study can be resumed.
    """
    if problems := inspection.inspect(data).problems:
        raise DataError(f"{data.root} is unusable: " + "; ".join(problems))
    ledger = Ledger(out)
    request = {
        "config": config.model_dump(mode="json", exclude={"trial", "cache_dir"}),
        "data": data.fingerprint,
        "drop_leaks": drop_leaks,
    }
    ledger.claim(request, resume=resume, overwrite=overwrite)
    study = _Study(config, _located(data), ledger, drop_leaks, watch or (lambda *_: None))
    with cluster.connected():
        return study.run()


@dataclass(frozen=True)
class _Learned:
    """A candidate's best trial."""

    candidate: Candidate
    number: int
    outcome: Outcome
    rank: tuple[float, float]

    @property
    def learner(self) -> SvmConfig | TrainConfig:
        return self.candidate.learners[self.number]


class _Study:
    def __init__(
        self, config: StudyConfig, data: DataSet, ledger: Ledger, drop_leaks: bool, watch: Watch
    ) -> None:
        self._config, self._ledger, self._watch = config, ledger, watch
        with ledger.stage("looking for leaks"):
            found, self._groups = leaks.find(data, progress=self._progress("looking for leaks"))
            self._leaks = [_leak(data, each, moved=drop_leaks) for each in found]
            self._data = leaks.moved(data, found) if drop_leaks else data
            if drop_leaks:
                _, self._groups = leaks.find(self._data)
        self._candidates = plan.candidates(config)
        self._failures: dict[str, str] = {}

    def run(self) -> tuple[Results, Timings]:
        self._try_all()
        self._fine_tune()
        learned = {each.name: self._best_trial(each) for each in self._candidates}
        found = {name: each for name, each in learned.items() if each}
        if not found:
            first = next(iter(self._failures.values()), "no trial")
            raise TrainingError(f"no model could be fitted: {first}")
        best = self._best(list(found.values()))
        folds = self._cross_validate(list(found.values()))
        self._keep(best)
        self._time(list(found.values()))
        results = Results(
            title=self._config.title,
            data=self._described(),
            leaks=self._leaks,
            entries=[self._entry(each, learned[each.name]) for each in self._candidates],
            pairs=scoring.pairs(
                {name: each.outcome.test for name, each in found.items()}, self._targets(TEST)
            ),
            cross_validation=folds,
            explained=self._explain(),
            best=best.candidate.name,
            config=self._config.model_dump(mode="json", exclude={"trial", "cache_dir"}),
        )
        timings = self._timings(found)
        self._ledger.write(RESULTS, results.model_dump_json(indent=1) + "\n")
        self._ledger.write(TIMINGS, timings.model_dump_json(indent=1) + "\n")
        return results, timings

    # The images

    @cached_property
    def _examples(self) -> list[Example]:
        return [each for examples in self._data.splits.values() for each in examples]

    @cached_property
    def _all_targets(self) -> npt.NDArray[np.int64]:
        return np.array([each.target for each in self._examples], np.int64)

    @cached_property
    def _places(self) -> dict[str, npt.NDArray[np.int64]]:
        """Where each split's rows are."""
        counts = [len(examples) for examples in self._data.splits.values()]
        ends = np.cumsum(counts)
        return {
            split: np.arange(end - count, end)
            for split, count, end in zip(self._data.splits, counts, ends, strict=True)
        }

    def _targets(self, split: str) -> npt.NDArray[np.int64]:
        return self._all_targets[self._places[split]]

    # Trials

    def _try_all(self) -> None:
        tried = [
            Trial(
                candidate.trial(number),
                learner,
                self._rows_name(learner),
                self._places[TRAIN],
                self._places[VALIDATION],
                self._places[TEST],
            )
            for candidate in self._candidates
            if candidate.family != "fine_tuned"
            for number, learner in enumerate(candidate.learners)
        ]
        self._run_trials("trials", tried)

    def _run_trials(self, stage: str, wanted: Sequence[Trial]) -> None:
        outcomes = self._ledger.outcomes
        if all(trial.name in outcomes for trial in wanted):
            return
        needed = {trial.rows: trial.learner for trial in wanted if trial.name not in outcomes}
        data = RowsOf(
            {name: self._rows(name, learner) for name, learner in needed.items()},
            self._all_targets,
            len(self._data.labels),
        )
        given = self._config.trial
        with self._ledger.stage(stage):
            self._failures |= trials.run(
                wanted, data, outcomes, Resources(given.cpus, given.gpus), self._progress(stage)
            )

    def _extraction(self, learner: SvmConfig | TrainConfig) -> Extraction:
        if isinstance(learner, SvmConfig):
            # Any network that sees pixels: nothing but the size counts.
            learner = TrainConfig.model_validate(
                {"backbone": {"name": "basic_cnn"}, "input_size": learner.input_size}
            )
        return Extraction(learner, len(self._data.labels), use_gpu=_has_gpu())

    def _rows_name(self, learner: SvmConfig | TrainConfig) -> str:
        return self._extraction(learner).key(self._data.fingerprint)

    def _rows(self, name: str, learner: SvmConfig | TrainConfig) -> npt.NDArray[Any]:
        from train import features

        wanted = self._extraction(learner)
        cache = (self._config.cache_dir or features.default_cache()).absolute()
        stage = f"features: {wanted.title}"
        started = time.perf_counter()
        folders = {cache / name / split: each for split, each in self._data.splits.items()}
        with self._ledger.stage("features"):
            rows = extraction.extract(wanted, folders, self._progress(stage))
        taken = time.perf_counter() - started
        before = self._ledger.noted("features").get(wanted.title, 0.0)
        self._ledger.note("features", wanted.title, max(before, taken))
        return rows.take(np.arange(len(rows)))

    def _fine_tune(self) -> None:
        outcomes = self._ledger.outcomes
        for candidate in self._candidates:
            name = candidate.trial(0)
            if candidate.family != "fine_tuned" or name in outcomes:
                continue
            (learner,) = candidate.learners
            assert isinstance(learner, TrainConfig)
            try:
                with self._ledger.stage(f"fitting {candidate.name}"):
                    made = self._fitted(learner, self._ledger.model(candidate.name))
            except PintagError as error:
                self._failures[name] = str(error)
                continue
            outcomes.write(name, trials.encode(self._asked(made)))

    def _fitted(self, learner: TrainConfig, out: Path) -> bundle.ModelBundle:
        if (out / bundle.MANIFEST).exists():
            return bundle.load(out)
        unfinished = out.with_name(f"{out.name}.run").exists()
        settings = learner.model_copy(update={"cache_dir": self._config.cache_dir})
        stage = f"fitting {out.name}"

        def watch(message: dict[str, Any]) -> None:
            if message["stage"] == "training":
                self._watch(stage, message["epoch"], message["epochs"])

        out.parent.mkdir(parents=True, exist_ok=True)
        return fit.fit(settings, self._data, out, resume=unfinished, watch=watch)

    def _asked(self, made: bundle.ModelBundle) -> Outcome:
        """What a bundle says of the images, as a trial's outcome."""
        network = made.network()
        engine = TensorFlowEngine(network)
        history = json.loads((made.path / "history.json").read_text())
        for row in history:
            row.pop("step_losses", None)
            row.pop("seconds", None)
        said = {
            split: np.log(
                np.maximum(evaluation.predict(engine, self._data.splits[split]).confidences, _TINY)
            ).astype(np.float32)
            for split in (TRAIN, VALIDATION, TEST)
        }
        right = said[TRAIN].argmax(axis=1) == self._targets(TRAIN)
        return Outcome(
            validation=said[VALIDATION],
            test=said[TEST],
            training_accuracy=float(right.mean()),
            parameters=int(network.count_params()),
            history=tuple(history),
            seconds=float(made.manifest.training["seconds"]["fit"]),
        )

    # Choices, always by the validation split

    def _best_trial(self, candidate: Candidate) -> _Learned | None:
        targets = self._targets(VALIDATION)
        outcomes = self._ledger.outcomes
        found = []
        for number in range(len(candidate.learners)):
            if candidate.trial(number) in outcomes:
                outcome = outcomes.read(candidate.trial(number))
                ranked = scoring.rank(outcome.validation, targets)
                found.append(_Learned(candidate, number, outcome, ranked))
        return max(found, key=lambda each: each.rank, default=None)

    def _best(self, learned: Sequence[_Learned]) -> _Learned:
        """The best that can be served; an SVM cannot."""
        networks = [each for each in learned if each.candidate.family != "svm"]
        if not networks:
            raise TrainingError("no network could be fitted: there is nothing to serve")
        return max(networks, key=lambda each: each.rank)

    # What is made of the best

    def _cross_validate(self, learned: Sequence[_Learned]) -> CrossValidation | None:
        from sklearn.model_selection import StratifiedGroupKFold

        count = self._config.cross_validation.folds
        tried = [each for each in learned if each.candidate.family in ("transfer", "network")]
        if not count or not tried:
            return None
        best = max(tried, key=lambda each: each.rank)
        splitter = StratifiedGroupKFold(
            count, shuffle=True, random_state=self._config.cross_validation.seed
        )
        targets = self._all_targets
        folds = [held for _, held in splitter.split(targets, targets, self._groups)]
        wanted = [
            Trial(
                f"fold.{number:02}",
                best.learner,
                self._rows_name(best.learner),
                np.sort(np.concatenate([*folds[:number], *folds[number + 1 :]])),
                folds[number - 1],
                folds[number],
            )
            for number in range(count)
        ]
        # The epoch is chosen by the fold before, which is not trained on then.
        wanted = [replace(each, train=np.setdiff1d(each.train, each.validation)) for each in wanted]
        self._run_trials("cross-validation", wanted)
        outcomes = self._ledger.outcomes
        done = [each for each in wanted if each.name in outcomes]
        if len(done) < count:
            return None
        said = [(outcomes.read(each.name).test, targets[each.test]) for each in done]
        return scoring.cross_validation(best.candidate.name, said, self._data.labels)

    def _keep(self, best: _Learned) -> None:
        """The winner as a bundle, ready to be served."""
        out = self._ledger.bundle
        if (out / bundle.MANIFEST).exists():
            return
        with self._ledger.stage("writing the winner"):
            if best.candidate.family == "fine_tuned":
                with files.atomic_folder(out) as made:
                    source = self._ledger.model(best.candidate.name)
                    shutil.copytree(source, made, dirs_exist_ok=True)
                return
            assert isinstance(best.learner, TrainConfig)
            self._fitted(best.learner, out)

    def _time(self, learned: Sequence[_Learned]) -> None:
        """How long one image takes each network, by TensorFlow; random weights take as long."""
        from pintag import networks

        known = self._ledger.noted("predictions")
        networks_ = [each for each in learned if each.candidate.family != "svm"]
        for number, each in enumerate(networks_):
            self._watch("timing predictions", number, len(networks_))
            name = each.candidate.name
            if name in known:
                continue
            assert isinstance(each.learner, TrainConfig)
            with self._ledger.stage("timing predictions"):
                network = networks.build(each.learner.network_spec(len(self._data.labels)))
                engine = TensorFlowEngine(network)
                seconds = {str(batch): _seconds(engine, batch) for batch in _BATCHES}
            self._ledger.note(
                "predictions",
                name,
                {engine.name: seconds, "parameters": int(network.count_params())},
            )
        self._watch("timing predictions", len(networks_), len(networks_))

    def _explain(self) -> list[Explained]:
        """One picture or more of each label, the first by their digests: nobody chose them."""
        known = self._ledger.noted("explained")
        engine: Engine | None = None
        labels = self._data.labels
        found = []
        chosen = [
            example
            for target in range(len(labels))
            for example in sorted(
                (each for each in self._data.splits[TEST] if each.target == target),
                key=lambda each: each.digest,
            )[: self._config.gallery.per_label]
        ]
        for number, example in enumerate(chosen):
            name = f"gallery/{labels[example.target]}-{example.digest[:12]}.jpg"
            if name not in known:
                engine = engine or bundle.load(self._ledger.bundle).engine()
                with self._ledger.stage("explaining"):
                    told = self._explained(example, name, engine)
                self._ledger.note("explained", name, told and told.model_dump())
            if told := self._ledger.noted("explained")[name]:
                found.append(Explained.model_validate(told))
            self._watch("explaining", number + 1, len(chosen))
        return found

    def _explained(self, example: Example, name: str, engine: Engine) -> Explained | None:
        from pintag.gallery import jpeg

        gallery = self._config.gallery
        config = ExplainConfig(mode=gallery.mode, num_features=gallery.num_features)
        encoded = example.path.read_bytes()
        try:
            made = explain(images.decode(encoded, engine.input_size), engine.predict, config=config)
        except ExplainError:
            return None
        self._ledger.write(name, jpeg(made.overlay(picture=overlay.picture(encoded))))
        labels = self._data.labels
        return Explained(
            image=str(example.path.relative_to(self._data.root)),
            label=labels[example.target],
            predicted=labels[made.finding.label],
            confidence=made.finding.confidence,
            picture=name,
        )

    # What is told

    def _entry(self, candidate: Candidate, learned: _Learned | None) -> Entry:
        outcomes = self._ledger.outcomes
        targets = self._targets(VALIDATION)
        tried = []
        for number, settings in enumerate(candidate.settings):
            name = candidate.trial(number)
            if name in outcomes:
                outcome = outcomes.read(name)
                tried.append(
                    TrialResult(
                        settings=settings,
                        training_accuracy=outcome.training_accuracy,
                        validation_accuracy=scoring.accuracy(outcome.validation, targets),
                    )
                )
            else:
                tried.append(TrialResult(settings=settings, failure=self._failures.get(name, "")))
        entry = Entry(
            name=candidate.name,
            title=candidate.title,
            family=candidate.family,
            note=candidate.note,
            trials=tried,
        )
        if learned is None:
            return entry.model_copy(update={"failure": tried[0].failure})
        outcome = learned.outcome
        temperature = calibration.fit_temperature(outcome.validation, targets)
        labels = self._data.labels
        parameters = self._parameters(candidate, outcome)
        return entry.model_copy(
            update={
                "chosen": learned.number,
                "history": list(outcome.history),
                "validation": scoring.scores(outcome.validation, temperature, targets, labels),
                "test": scoring.scores(outcome.test, temperature, self._targets(TEST), labels),
                "parameters": parameters,
                # float32 each.
                "bytes": 4 * parameters,
            }
        )

    def _parameters(self, candidate: Candidate, outcome: Outcome) -> int:
        """Of the whole network, and not of its head alone."""
        timed = self._ledger.noted("predictions").get(candidate.name)
        return int(timed["parameters"]) if timed else outcome.parameters

    def _described(self) -> Data:
        data = self._data
        return Data(
            name=data.root.name,
            fingerprint=data.fingerprint,
            labels=list(data.labels),
            counts={split: data.counts(split) for split in data.splits},
            synthetic=data.is_synthetic,
        )

    def _timings(self, found: dict[str, _Learned]) -> Timings:
        predictions = [
            Prediction(entry=name, engine=engine, batch=int(batch), seconds=seconds)
            for name, engines in self._ledger.noted("predictions").items()
            for engine, batches in engines.items()
            if engine != "parameters"
            for batch, seconds in batches.items()
        ]
        budget = self._config.latency_budget
        fast = [
            found[each.entry]
            for each in predictions
            if each.batch == 1 and each.seconds <= budget and each.entry in found
        ]
        return Timings(
            machine=_machine(),
            stages=self._ledger.noted("stages"),
            features=self._ledger.noted("features"),
            training={name: each.outcome.seconds for name, each in found.items()},
            predictions=predictions,
            latency_budget=budget,
            fast_best=self._best(fast).candidate.name if fast else None,
        )

    def _progress(self, stage: str) -> Callable[[int, int], None]:
        return lambda done, total: self._watch(stage, done, total)


def _located(data: DataSet) -> DataSet:
    """With absolute paths: actors run in folders of their own."""
    splits = {
        split: tuple(replace(each, path=each.path.absolute()) for each in examples)
        for split, examples in data.splits.items()
    }
    return replace(data, root=data.root.absolute(), splits=splits)


def _leak(data: DataSet, found: leaks.Leak, *, moved: bool) -> Leak:
    first, second = (
        str(each.path.relative_to(data.root)) for _, each in (found.first, found.second)
    )
    kind = "equal" if found.is_equal else "similar"
    return Leak(first=first, second=second, kind=kind, distance=found.distance, moved=moved)


def _has_gpu() -> bool:
    import ray

    return bool(ray.cluster_resources().get("GPU", 0))


def _seconds(engine: Engine, batch: int) -> float:
    """Mean wall seconds of one image in batches of this size."""
    size = engine.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    engine.predict(pixels)
    count, started = 0, time.perf_counter()
    while count < 3 or time.perf_counter() - started < _TIMED_SECONDS:
        engine.predict(pixels)
        count += 1
    return (time.perf_counter() - started) / (count * batch)


def _machine() -> str:
    """The processor by its name, where the system tells, and how many cores there are."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((x.partition(": ")[2] for x in lines if x.startswith("model name")), name)
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )
