"""A study: every model fitted on one data set, compared on the same images, and the best kept.

Every part is written to the study's folder as soon as it is done, and is not done again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cluster
from pintag import bundle, evaluation, files, inspection, leaks, report
from pintag.bundle import ModelBundle
from pintag.dataset import TEST, TRAIN, VALIDATION, DataSet
from pintag.engine import TensorFlowEngine
from pintag.errors import DataError, PintagError, TrainingError
from pintag.explain import ExplainConfig
from pintag.results import CrossValidation, Explained, Results, Timings
from train import (
    crossval,
    exhibits,
    findings,
    fit,
    interrupt,
    plan,
    scoring,
    speed,
    trials,
)
from train.config import SvmConfig, TrainConfig
from train.extraction import Extraction
from train.findings import Finding
from train.learners import Outcome
from train.ledger import Ledger
from train.material import Material
from train.outcomes import encode
from train.plan import StudyConfig
from train.trials import Resources, RowsOf, Trial

Watch = Callable[[str, float, int], None]
"""Told a stage, how much of it is done, and how much there is."""

RESULTS, TIMINGS = "results.json", "timings.json"
# What may change between an interrupted study and the one that goes on with it.
_FREE_TO_CHANGE = {"trial", "cache_dir"}


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
    asked = config.model_dump(mode="json", exclude=_FREE_TO_CHANGE)
    request = {"config": asked, "data": data.fingerprint, "drop_leaks": drop_leaks}
    ledger.claim(request, resume=resume, overwrite=overwrite)
    with cluster.connected(), interrupt.remembered() as check:

        def told(stage: str, done: float, total: int) -> None:
            check()
            if watch:
                watch(stage, done, total)

        results, timings = _Study(config, data, ledger, drop_leaks, told).run()
    ledger.write(RESULTS, results.model_dump_json(indent=1) + "\n")
    ledger.write(TIMINGS, timings.model_dump_json(indent=1) + "\n")
    report.write(ledger.folder, results, timings)
    return results, timings


class _Study:
    def __init__(
        self, config: StudyConfig, data: DataSet, ledger: Ledger, drop_leaks: bool, watch: Watch
    ) -> None:
        self._config, self._ledger, self._watch = config, ledger, watch
        with ledger.stage("looking for leaks"):
            found, self._groups = leaks.find(data, progress=self._bar("looking for leaks"))
            self._leaks = [findings.leak(data, each, moved=drop_leaks) for each in found]
            if drop_leaks and found:
                group_of = dict(zip(data.examples, self._groups, strict=True))
                data = leaks.moved(data, found)
                self._groups = np.array([group_of[example] for example in data.examples])
        self._material = Material.of(data, config.cache_dir)
        self._candidates = plan.candidates(config)
        self._failures: dict[str, str] = {}

    def run(self) -> tuple[Results, Timings]:
        self._try_settings()
        self._fine_tune()
        found = findings.find(self._candidates, self._ledger, self._material)
        contending = findings.contenders(found, self._material.targets_of(VALIDATION))
        folds = self._cross_validate(contending)
        best = findings.winner(contending, folds) if found else self._nothing()
        self._keep(best)
        self._time(found)
        by_name = {each.name: each for each in found}
        tested = {each.name: each.outcome.test for each in found}
        results = Results(
            title=self._config.title,
            data=findings.described(self._material.data),
            leaks=self._leaks,
            entries=[
                findings.entry(
                    each, by_name.get(each.name), self._ledger, self._material, self._failures
                )
                for each in self._candidates
            ],
            pairs=scoring.pairs(tested, self._material.targets_of(TEST)),
            cross_validation=folds,
            explained=self._explain(),
            best=best.name,
            config=self._config.model_dump(
                mode="json", exclude=_FREE_TO_CHANGE, exclude_unset=True
            ),
        )
        budget = self._config.latency_budget
        return results, findings.timings(found, self._ledger, self._material, folds, budget)

    def _nothing(self) -> Finding:
        first = next(iter(self._failures.values()), "nothing was tried")
        raise TrainingError(f"no model could be fitted: {first}")

    def _try_settings(self) -> None:
        places = self._material.places
        wanted = []
        for candidate in self._candidates:
            if candidate.family == "fine_tuned":
                continue
            for number, learner in enumerate(candidate.learners):
                name = candidate.trial(number)
                try:
                    sees = self._keys(learner)
                except PintagError as error:
                    self._failures[name] = str(error)
                    continue
                parts = (places[TRAIN], places[VALIDATION], places[TEST])
                wanted.append(Trial(name, learner, sees, *parts))
        self._run_trials("trials", wanted)

    def _run_trials(self, stage: str, wanted: Sequence[Trial]) -> None:
        outcomes = self._ledger.outcomes
        material = self._material
        missing = {
            material.key(extraction): extraction
            for trial in wanted
            if trial.name not in outcomes
            for extraction in material.extractions(trial.learner)
        }
        if not missing:
            return
        arrays = {}
        for name, extraction in missing.items():
            try:
                arrays[name] = self._rows(extraction)
            except PintagError as error:
                self._failures |= {each.name: str(error) for each in wanted if name in each.sees}
        ready = [
            trial for trial in wanted if trial.name in outcomes or arrays.keys() >= {*trial.sees}
        ]
        data = RowsOf(arrays, material.targets, material.num_labels, material.digests)
        given = Resources(self._config.trial.cpus, self._config.trial.gpus)
        with self._ledger.stage(stage):
            self._failures |= trials.run(ready, data, outcomes, given, self._bar(stage))

    def _keys(self, learner: SvmConfig | TrainConfig) -> tuple[str, ...]:
        return tuple(map(self._material.key, self._material.extractions(learner)))

    def _rows(self, extraction: Extraction) -> Any:
        title = extraction.title
        with self._ledger.stage("features"):
            rows = self._material.rows(extraction, self._bar(f"features: {title}"))
        self._ledger.note("features", title, self._material.seconds(extraction))
        return rows

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
            else:
                outcomes.write(name, encode(self._asked(made)))

    def _fitted(self, learner: TrainConfig, out: Path) -> ModelBundle:
        if (out / bundle.MANIFEST).exists():
            return bundle.load(out)
        unfinished = out.with_name(f"{out.name}.run").exists()
        settings = learner.model_copy(update={"cache_dir": self._material.cache})

        def watch(message: dict[str, Any]) -> None:
            if message["stage"] == "training":
                name = f"fitting {out.name}, {message['phase']}"
                self._watch(name, message["epoch"], message["epochs"])

        out.parent.mkdir(parents=True, exist_ok=True)
        return fit.fit(settings, self._material.data, out, resume=unfinished, watch=watch)

    def _asked(self, made: ModelBundle) -> Outcome:
        """What a bundle says of the images, as a trial's outcome."""
        network = made.network()
        engine = TensorFlowEngine(network)
        splits = self._material.data.splits
        logits = {
            split: evaluation.predict(engine, splits[split]).logits
            for split in (TRAIN, VALIDATION, TEST)
        }
        right = logits[TRAIN].argmax(axis=1) == self._material.targets_of(TRAIN)
        history = json.loads((made.path / "history.json").read_text())
        return Outcome(
            validation=logits[VALIDATION],
            test=logits[TEST],
            training_accuracy=float(right.mean()),
            parameters=int(network.count_params()),
            history=tuple(
                {key: each for key, each in row.items() if key not in ("step_losses", "seconds")}
                for row in history
            ),
            seconds=float(made.manifest.training["seconds"]["fit"]),
        )

    def _cross_validate(self, contending: Sequence[Finding]) -> list[CrossValidation]:
        """Of those that are no more than trials: fine-tuning ten times takes hours."""
        wanted, material = self._config.cross_validation, self._material
        if not wanted.folds:
            return []
        places = np.concatenate([material.places[split] for split in (TRAIN, VALIDATION)])
        folds = {
            each.name: crossval.trials(
                each.name,
                each.learner,
                self._keys(each.learner),
                material.targets,
                self._groups,
                places,
                wanted.folds,
                wanted.seed,
            )
            for each in contending
            if each.candidate.family != "fine_tuned"
        }
        self._run_trials("cross-validation", [fold for each in folds.values() for fold in each])
        return [
            self._validated(name, each)
            for name, each in folds.items()
            if all(fold.name in self._ledger.outcomes for fold in each)
        ]

    def _validated(self, name: str, folds: Sequence[Trial]) -> CrossValidation:
        outcomes, targets = self._ledger.outcomes, self._material.targets
        said = [(outcomes.read(fold.name).test, targets[fold.test]) for fold in folds]
        return scoring.cross_validation(name, said, self._material.data.labels)

    def _keep(self, best: Finding) -> None:
        """The winner as a bundle, ready to be served."""
        out = self._ledger.bundle
        if (out / bundle.MANIFEST).exists():
            return
        assert isinstance(best.learner, TrainConfig)
        with self._ledger.stage("writing the winner"):
            if best.candidate.family == "fine_tuned":
                with files.atomic_folder(out) as made:
                    shutil.copytree(self._ledger.model(best.name), made, dirs_exist_ok=True)
            else:
                self._fitted(best.learner, out)

    def _time(self, found: Sequence[Finding]) -> None:
        from pintag import networks

        timed = [each for each in found if isinstance(each.learner, TrainConfig)]
        bar = self._bar("timing predictions")
        for number, each in enumerate(timed, start=1):
            if each.name not in self._ledger.noted("predictions"):
                assert isinstance(each.learner, TrainConfig)
                spec = each.learner.network_spec(self._material.num_labels)
                with self._ledger.stage("timing predictions"):
                    self._ledger.note("parameters", each.name, networks.count_parameters(spec))
                    self._ledger.note("predictions", each.name, speed.predictions(spec))
            bar(number, len(timed))

    def _explain(self) -> list[Explained]:
        gallery = self._config.gallery
        config = ExplainConfig(mode=gallery.mode, num_features=gallery.num_features)
        data = self._material.data
        chosen = exhibits.chosen(data, data.splits[TEST], gallery.per_label)
        known = self._ledger.noted("explained")
        missing = [each for each in chosen if exhibits.name(data, each) not in known]
        engine = bundle.load(self._ledger.bundle).engine() if missing else None
        for number, example in enumerate(missing, start=1):
            assert engine is not None
            with self._ledger.stage("explaining"):
                made = exhibits.make(data, example, engine, config)
            if made:
                self._ledger.write(made[0].picture, made[1])
            name = exhibits.name(data, example)
            self._ledger.note("explained", name, made[0].model_dump() if made else None)
            self._watch("explaining", number, len(missing))
        known = self._ledger.noted("explained")
        told = [known[exhibits.name(data, example)] for example in chosen]
        return [Explained.model_validate(each) for each in told if each]

    def _bar(self, stage: str) -> Callable[[float, int], None]:
        return lambda done, total: self._watch(stage, done, total)
