"""One step of data-parallel training, and sums over the workers for validation.

Keras' own `fit` fails under the multi-worker strategy (keras#20585). Here each worker computes the
gradient of the summed loss of its images divided by the *global* batch size. Keras' optimizer adds
these gradients over the workers, so any number of workers makes the same step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pintag.core.types import Array

if TYPE_CHECKING:
    import keras


class TrainStep:
    """Trains and validates one model with one optimizer, under a distribution strategy."""

    def __init__(
        self,
        strategy: Any,
        model: keras.Model,
        learning_rate: float,
        label_smoothing: float = 0.0,
        decay_steps: int | None = None,
    ) -> None:
        """Build the optimizer. TensorFlow traces the functions at their first call.

        Args:
            decay_steps: the learning rate falls to zero within these steps along half a cosine
                (Loshchilov and Hutter, SGDR, 2017); None: it is constant.
        """
        import tensorflow as tf

        self._strategy, self._model, self._smoothing = strategy, model, label_smoothing
        self.learning_rate = learning_rate
        self.optimizer = _build_optimizer(strategy, model, learning_rate, decay_steps)
        rows = tf.TensorSpec((None, *model.input_shape[1:]), model.inputs[0].dtype)
        targets = tf.TensorSpec((None,), tf.int64)
        vector, scalar = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)
        self._train = tf.function(
            lambda *arguments: strategy.run(self._replica_step, arguments),
            input_signature=[rows, targets, vector, scalar],
        )
        self._evaluate = tf.function(
            lambda rows, targets: self._losses(rows, targets, training=False, smoothing=0.0),
            input_signature=[rows, targets],
        )
        self._sum = tf.function(
            lambda value: strategy.run(lambda local: _all_reduce(tf.identity(local)), (value,)),
            input_signature=[vector],
        )

    def train(
        self, rows: Array, targets: Array, weights: Array, batch_size: int
    ) -> tuple[Any, Any]:
        """Make one step; every worker must call it, even with an empty share.

        Args:
            rows: this worker's share of the batch: `[n, ...]`.
            targets: `int64[n]`.
            weights: `float32[n]`: the weight of each image in the loss.
            batch_size: the images of the batch over all workers.

        Returns:
            The mean loss and the number of correct predictions of the batch over all workers, as
            tensors. Reading their values waits for the step to end.
        """
        result: tuple[Any, Any] = self._train(rows, targets, weights, float(batch_size))
        return result

    def evaluate(self, rows: Array, targets: Array) -> npt.NDArray[np.float32]:
        """Return the summed loss and the correct predictions of this worker: `float32[2]`."""
        losses, correct = self._evaluate(rows, targets)
        return np.array([losses.numpy().sum(), correct.numpy()], np.float32)

    def sum_over_workers(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the sum of `float32[k]` over all workers; every worker must call it."""
        total: npt.NDArray[np.float32] = self._sum(values).numpy()
        return total

    def _replica_step(
        self, rows: Any, targets: Any, weights: Any, batch_size: Any
    ) -> tuple[Any, Any]:
        import tensorflow as tf

        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            losses, correct = self._losses(rows, targets, training=True, smoothing=self._smoothing)
            loss = tf.reduce_sum(losses * weights) / batch_size
            scaled = self.optimizer.scale_loss(loss)
        # `apply` itself sums the gradients over the workers. Summing them here as well would
        # scale them by the number of workers; Adam would hide that except for its epsilon.
        self.optimizer.apply(tape.gradient(scaled, variables), variables)
        return _all_reduce(loss), _all_reduce(correct)

    def _losses(
        self, rows: Any, targets: Any, *, training: bool, smoothing: float
    ) -> tuple[Any, Any]:
        """Return the loss of each row, `float32[n]`, and the number of correct predictions."""
        import tensorflow as tf

        logits = self._model(rows, training=training)
        expected = tf.one_hot(targets, logits.shape[-1])
        expected = expected * (1.0 - smoothing) + smoothing / logits.shape[-1]
        correct = tf.argmax(logits, axis=-1) == targets
        return (
            tf.nn.softmax_cross_entropy_with_logits(expected, logits),
            tf.reduce_sum(tf.cast(correct, tf.float32)),
        )


def _build_optimizer(
    strategy: Any, model: keras.Model, learning_rate: float, decay_steps: int | None
) -> keras.optimizers.Optimizer:
    """Return Adam for a model; it scales the loss where layers compute in float16."""
    import keras

    with strategy.scope():
        rate: Any = learning_rate
        if decay_steps is not None:
            rate = keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps)
        optimizer: keras.optimizers.Optimizer = keras.optimizers.Adam(rate)
        if "float16" in {layer.compute_dtype for layer in model.layers}:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
    return optimizer


def _all_reduce(value: Any) -> Any:
    """Return the sum of a tensor over all replicas, within `strategy.run`."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
