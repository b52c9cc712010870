"""The stable mode: a regression of log-odds with confidence intervals.

The log-odds of a label are closer to a sum over segments than its confidence, which saturates. They
are regressed on masks of randomised fractional factorial designs (`pintag.explain.mask_designs`),
round by round, with running normal equations.

Standard errors are those of ordinary least squares, with the products of all pairs of segments as
covariates if there are enough samples: the interaction of two segments is not noise in a design
that is orthogonal to it (effects and interactions: Box, Hunter & Hunter, *Statistics for
Experimenters*, 2005, chapters 5 and 6). Higher interactions count as noise although the design
balances some of them, so the standard errors tend to be too large; `docs/benchmarks.md` compares
them with the variation between seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pintag.core.errors import ExplainError
from pintag.core.types import Floats
from pintag.explain import mask_designs
from pintag.explain.perturbation import Masks
from pintag.explain.sampling import Sampler
from pintag.explain.surrogate import LabelExplanation, StopReason, Surrogate, rank

# Maximum number of columns of the regression. From 25 segments on, pairs would exceed it.
_MOST_COLUMNS = 301
# Minimum degrees of freedom to estimate a variance with pairs.
_FREEDOM = 32
# Confidences are clipped to this distance from zero and one: the odds of one are infinite, and the
# difference between 0.9999 and 0.99999 means nothing to a user.
_SMALLEST = 0.003
_RIDGE = 1e-9
# The share of a sum of squares that rounding errors may leave.
_ROUNDING = 1e-12


def log_odds(confidences: npt.NDArray[np.floating]) -> Floats:
    """`log(p / (1 - p))` of confidences, clipped to 0.003 and 0.997: `float64` of equal shape."""
    kept = np.clip(confidences.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    odds: Floats = np.log(kept) - np.log1p(-kept)
    return odds


@dataclass(frozen=True)
class Goal:
    """Which superpixels have to rank above the rest before sampling ends."""

    num_features: int
    level: float
    """The confidence level of that ranking."""
    positive_only: bool


def find(
    sampler: Sampler, random: np.random.Generator, *, budget: int, goal: Goal
) -> list[LabelExplanation]:
    """Explain the sampler's labels; sampling ends when the goal or the budget is reached.

    Args:
        budget: maximum number of samples.

    Raises:
        ExplainError: there are more segments than a design supports.
    """
    segments = sampler.segments
    _check_count(segments)
    rounds = mask_designs.rounds(segments, random)
    # The whole image is not part of the design. It determines the labels to explain.
    masks = np.vstack([np.ones((1, segments), bool), next(rounds)])[:budget]
    whole, *first = sampler.predict(masks)
    regression = Regression(segments, len(sampler.labels), budget - 1)
    looks = max(1, (budget - 1) // mask_designs.BLOCK)
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
        LabelExplanation(label, float(whole[label]), estimate.surrogate, outcome, claimed)
        for label, estimate, claimed in zip(sampler.labels, estimates, claims, strict=True)
    ]


def _check_count(segments: int) -> None:
    if segments > mask_designs.MOST_SEGMENTS:
        raise ExplainError(
            f"{segments} superpixels; stable mode supports at most {mask_designs.MOST_SEGMENTS}:"
            " choose a coarser segmentation"
        )


def _outcome(sampler: Sampler, separated: bool, budget: int) -> StopReason | None:
    """Why sampling ends, or None if it continues."""
    if separated:
        return "separated"
    if sampler.stopped:
        return "deadline"
    return "budget" if sampler.count + mask_designs.BLOCK > budget else None


@dataclass(frozen=True)
class WeightEstimate:
    """The weights of one label with their standard errors."""

    surrogate: Surrogate
    errors: Floats
    """`float64[K]`: standard errors; infinite with too few samples."""
    freedom: int
    """Degrees of freedom of the residual variance."""

    def claimed(self, goal: Goal, looks: int = 1) -> int:
        """How many of the first segments rank above all that follow.

        It makes a one-sided t-test of the gap between each requested segment and the next one, and
        of the gap between the last segment and zero. The level holds for all gaps and all looks
        together (Bonferroni).

        Args:
            looks: how often this test is repeated while samples arrive (interim looks).
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
        """`samples` is the maximum number of samples."""
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
        """Add samples: masks `bool[S,K]` and log-odds `float64[S,L]`."""
        # With 1 for kept and -1 for hidden, the columns of a balanced design are orthogonal.
        signs = 2.0 * masks - 1
        pairs = signs[:, self._left] * signs[:, self._right]
        columns = np.hstack([np.ones((len(masks), 1)), signs, pairs])
        self._gram += columns.T @ columns
        self._moment += columns.T @ responses
        self._square += (responses**2).sum(axis=0)
        self._count += len(masks)

    def estimate(self, level: float) -> list[WeightEstimate]:
        """The current weights of each label, with intervals at `level`."""
        main = 1 + self._segments
        gram = self._gram[:main, :main]
        inverse, gram_rank = _inverse(gram)
        coefficients = inverse @ self._moment[:main]
        variance, freedom = self._variance(coefficients)
        # Weights of segments that were always hidden together cannot be separated.
        if gram_rank < main:
            variance = np.full(len(variance), np.inf)
        # Signs differ by two between hidden and kept.
        errors = 2 * np.sqrt(np.outer(variance, np.diag(inverse)[1:]))
        return [
            self._estimate(row, coefficients[:, row], errors[row], freedom, level)
            for row in range(len(variance))
        ]

    def _estimate(
        self, row: int, coefficients: Floats, errors: Floats, freedom: int, level: float
    ) -> WeightEstimate:
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
        return WeightEstimate(surrogate, errors, freedom)

    def _variance(self, coefficients: Floats) -> tuple[Floats, int]:
        """The residual variance of each label, and its degrees of freedom.

        Pairs are covariates if there are enough samples.
        """
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
        """The sum of squared residuals of one label, kept above the rounding error."""
        count = len(coefficients)
        moment, gram = self._moment[:count, row], self._gram[:count, :count]
        left = self._square[row] - 2 * coefficients @ moment + coefficients @ gram @ coefficients
        return max(float(left), _ROUNDING * float(self._square[row]))


def _inverse(gram: Floats) -> tuple[Floats, int]:
    """The pseudo-inverse, which gives the solution of minimum norm, and the rank."""
    values, vectors = np.linalg.eigh(gram)
    positive = values > _RIDGE * values[-1]
    inverse: Floats = (vectors[:, positive] / values[positive]) @ vectors[:, positive].T
    return inverse, int(positive.sum())
