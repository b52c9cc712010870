"""The stable mode's surrogate: a regression on log-odds that knows how sure it is.

The log-odds of a label are close to a sum over segments where its confidence saturates. They are
regressed on masks of randomised fractional factorial designs (`pintag.designs`), round by round,
by running normal equations.

Standard errors are those of ordinary least squares, with the products of all pairs of segments as
covariates while there are samples enough: what two segments do together is no noise in a design
that is orthogonal to it (effects and interactions: Box, Hunter & Hunter, *Statistics for
Experimenters*, 2005, chapters 5 and 6). Interactions that are left count as noise although the
design balances some of them, so the errors err on the large side; `docs/benchmarks.md` holds them
against what seeds really do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pintag import designs
from pintag.errors import ExplainError
from pintag.perturbation import Masks
from pintag.sampling import Sampler
from pintag.surrogate import Finding, Floats, Outcome, Surrogate, rank

# Columns of the regression at most; with more than 24 segments pairs would be above it.
_MOST_COLUMNS = 301
# Degrees of freedom that a variance is estimated with at least.
_FREEDOM = 32
# Confidences this near to zero and to one are taken for it: what makes 0.99999 of 0.9999 is no
# reason that anybody sees, and one has infinite odds.
_SMALLEST = 0.003
_RIDGE = 1e-9
# Of a sum of squares, what rounding may leave of it where there is nothing.
_ROUNDING = 1e-12


def log_odds(confidences: npt.NDArray[np.floating]) -> Floats:
    """`log(p / (1 - p))`, of confidences kept off zero and one by 0.003."""
    kept = np.clip(confidences.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    odds: Floats = np.log(kept) - np.log1p(-kept)
    return odds


@dataclass(frozen=True)
class Goal:
    """What is to be told apart."""

    num_features: int
    level: float
    """The confidence at which."""
    positive_only: bool


def find(
    sampler: Sampler, random: np.random.Generator, *, budget: int, goal: Goal
) -> list[Finding]:
    """Explain the sampler's labels by as many samples as their top segments need, at most `budget`.

    Raises:
        ExplainError: there are more segments than a design has.
    """
    segments = sampler.segments
    if segments > designs.MOST_SEGMENTS:
        raise ExplainError(
            f"{segments} superpixels; stable mode tells at most {designs.MOST_SEGMENTS} apart:"
            " choose a coarser segmentation"
        )
    rounds = designs.rounds(segments, random)
    # The whole image is no part of the design, but says what is to be explained.
    masks = np.vstack([np.ones((1, segments), bool), next(rounds)])[:budget]
    whole, *first = sampler.predict(masks)
    regression = Regression(segments, len(sampler.labels), budget - 1)
    looks = max(1, (budget - 1) // designs.BLOCK)
    masks, confidences = masks[1:], np.array(first)
    while True:
        regression.add(masks[: len(confidences)], log_odds(confidences[:, sampler.labels]))
        estimates = regression.estimate(goal.level)
        claims = [estimate.claimed(goal, looks) for estimate in estimates]
        outcome = _outcome(sampler, min(claims) >= min(goal.num_features, segments), budget)
        if outcome:
            break
        masks = next(rounds)
        confidences = sampler.predict(masks)
    return [
        Finding(label, float(whole[label]), estimate.surrogate, outcome, claimed)
        for label, estimate, claimed in zip(sampler.labels, estimates, claims, strict=True)
    ]


def _outcome(sampler: Sampler, separated: bool, budget: int) -> Outcome | None:
    """Whether it is the end, and why."""
    if separated:
        return "separated"
    if sampler.stopped:
        return "deadline"
    return "budget" if sampler.count + designs.BLOCK > budget else None


@dataclass(frozen=True)
class Estimate:
    """Weights of one label with their standard errors."""

    surrogate: Surrogate
    errors: Floats
    """`float64[K]`; infinite while there are too few samples."""
    freedom: int

    def claimed(self, goal: Goal, looks: int = 1) -> int:
        """How many of the first segments are told apart from all that follow them.

        One-sided t-tests of the gaps below the first, second, … segment asked for, at the level
        for all of them and all looks together (Bonferroni); below the last segment lies zero.

        Args:
            looks: how often it is asked while samples come in.
        """
        weights = self.surrogate.weights
        ranked = rank(weights, goal.positive_only)
        heights = weights[ranked] if goal.positive_only else np.abs(weights[ranked])
        heights = np.append(np.maximum(heights, 0), 0)
        variances = np.append(self.errors[ranked] ** 2, 0)
        count = min(goal.num_features, len(ranked))
        gaps = heights[:count] - heights[1 : count + 1]
        needed = stats.t.ppf(1 - (1 - goal.level) / (count * looks), max(self.freedom, 1))
        apart = gaps > needed * np.sqrt(variances[:count] + variances[1 : count + 1])
        return int(np.flatnonzero(apart)[-1]) + 1 if apart.any() else 0


class Regression:
    """Running normal equations of several labels' log-odds over the same masks."""

    def __init__(self, segments: int, labels: int, samples: int) -> None:
        """`samples` is how many there can be at most."""
        self._segments = segments
        self._left, self._right = np.triu_indices(segments, 1)
        columns = 1 + segments + len(self._left)
        if columns > min(_MOST_COLUMNS, samples - _FREEDOM):
            self._left = self._right = np.empty(0, np.intp)
            columns = 1 + segments
        self._gram = np.zeros((columns, columns))
        self._moment = np.zeros((columns, labels))
        self._square = np.zeros(labels)
        self._count = 0

    def add(self, masks: Masks, responses: Floats) -> None:
        """Take `bool[S,K]` and log-odds `float64[S,L]`."""
        # Kept and hidden as 1 and -1: the columns of a balanced design are then orthogonal.
        signs = 2.0 * masks - 1
        pairs = signs[:, self._left] * signs[:, self._right]
        columns = np.hstack([np.ones((len(masks), 1)), signs, pairs])
        self._gram += columns.T @ columns
        self._moment += columns.T @ responses
        self._square += (responses**2).sum(axis=0)
        self._count += len(masks)

    def estimate(self, level: float) -> list[Estimate]:
        """Each label's weights as they stand, with intervals at `level`."""
        main = 1 + self._segments
        gram = self._gram[:main, :main]
        inverse, known = _inverse(gram)
        coefficients = inverse @ self._moment[:main]
        variance, freedom = self._variance(coefficients)
        # While segments are hidden together only, samples of any number do not tell them apart.
        if known < main:
            variance = np.full(len(variance), np.inf)
        # From signs to kept or hidden: the step from -1 to 1 is two.
        errors = 2 * np.sqrt(np.outer(variance, np.diag(inverse)[1:]))
        return [
            self._estimate(row, coefficients[:, row], errors[row], freedom, level)
            for row in range(len(variance))
        ]

    def _estimate(
        self, row: int, coefficients: Floats, errors: Floats, freedom: int, level: float
    ) -> Estimate:
        weights = 2 * coefficients[1:]
        margins = stats.t.ppf((1 + level) / 2, max(freedom, 1)) * errors
        total = self._square[row] - self._moment[0, row] ** 2 / self._count
        varied = total > _ROUNDING * self._square[row]
        score = 1 - self._residual(coefficients, row) / total if varied else 1.0
        surrogate = Surrogate(
            weights=weights,
            intercept=float(coefficients[0] - coefficients[1:].sum()),
            score=float(score),
            prediction=float(1 / (1 + np.exp(-coefficients.sum()))),
            scale="log-odds",
            intervals=np.stack([weights - margins, weights + margins], axis=-1),
        )
        return Estimate(surrogate, errors, freedom)

    def _variance(self, coefficients: Floats) -> tuple[Floats, int]:
        """Each label's residual variance: with pairs when there are samples for it."""
        full = len(self._gram)
        if self._count - full >= _FREEDOM:
            gram = self._gram + _RIDGE * self._count * np.eye(full)
            coefficients = np.asarray(np.linalg.solve(gram, self._moment), np.float64)
        freedom = self._count - len(coefficients)
        labels = range(coefficients.shape[1])
        residual = np.array([self._residual(coefficients[:, row], row) for row in labels])
        if freedom < 1:
            return np.full(len(residual), np.inf), 0
        return residual / freedom, freedom

    def _residual(self, coefficients: Floats, row: int) -> float:
        """The sum of squared residuals of the columns that have coefficients, never quite zero."""
        count = len(coefficients)
        moment, gram = self._moment[:count, row], self._gram[:count, :count]
        left = self._square[row] - 2 * coefficients @ moment + coefficients @ gram @ coefficients
        return max(float(left), _ROUNDING * float(self._square[row]))


def _inverse(gram: Floats) -> tuple[Floats, int]:
    """The pseudo-inverse, which gives the smallest of all solutions, and the rank."""
    values, vectors = np.linalg.eigh(gram)
    known = values > _RIDGE * values[-1]
    inverse: Floats = (vectors[:, known] / values[known]) @ vectors[:, known].T
    return inverse, int(known.sum())
