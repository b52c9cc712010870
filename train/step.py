"""One step of data-parallel training, and the sums that validation needs.

Keras' own `fit` fails under the multi-worker strategy (keras#20585). Here each worker takes the
gradient of a sum over its images divided by the *global* batch size; Keras' optimizer adds the
gradients up over the workers, so that any number of workers makes the same step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[Any]


class Step:
    """Training and validation of one model by one optimizer, under a strategy."""

    def __init__(
        self,
        strategy: Any,
        model: keras.Model,
        learning_rate: float,
        label_smoothing: float = 0.0,
        decay_steps: int | None = None,
    ) -> None:
        """Build the optimizer and trace nothing yet.

        Args:
            decay_steps: until the learning rate has fallen to zero along half a cosine (Loshchilov
                and Hutter, SGDR, 2017); None: it stays.
        """
        import keras
        import tensorflow as tf

        with strategy.scope():
            rate: Any = learning_rate
            if decay_steps is not None:
                rate = keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps)
            self.optimizer: keras.optimizers.Optimizer = keras.optimizers.Adam(rate)
            if "float16" in {layer.compute_dtype for layer in model.layers}:
                self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
            self.optimizer.build(model.trainable_variables)
        rows = tf.TensorSpec((None, *model.input_shape[1:]), model.inputs[0].dtype)
        targets = tf.TensorSpec((None,), tf.int64)
        scalar = tf.TensorSpec((), tf.float32)
        weights = tf.TensorSpec((None,), tf.float32)

        def losses(rows: Any, targets: Any, training: bool, smoothing: float) -> tuple[Any, Any]:
            logits = model(rows, training=training)
            wanted = tf.one_hot(targets, logits.shape[-1])
            wanted = wanted * (1.0 - smoothing) + smoothing / logits.shape[-1]
            correct = tf.argmax(logits, axis=-1) == targets
            return (
                tf.nn.softmax_cross_entropy_with_logits(wanted, logits),
                tf.reduce_sum(tf.cast(correct, tf.float32)),
            )

        def add_up(value: Any) -> Any:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

        def replica(rows: Any, targets: Any, weights: Any, batch_size: Any) -> tuple[Any, Any]:
            variables = model.trainable_variables
            with tf.GradientTape() as tape:
                each, correct = losses(rows, targets, True, label_smoothing)
                loss = tf.reduce_sum(each * weights) / batch_size
                scaled = self.optimizer.scale_loss(loss)
            # `apply` adds the gradients up over the workers itself; adding them up before would
            # scale them by the number of workers, which Adam hides but for its epsilon.
            self.optimizer.apply(tape.gradient(scaled, variables), variables)
            return add_up(loss), add_up(correct)

        self._train = tf.function(
            lambda *arguments: strategy.run(replica, arguments),
            input_signature=[rows, targets, weights, scalar],
        )
        self._evaluate = tf.function(
            lambda rows, targets: losses(rows, targets, False, 0.0),
            input_signature=[rows, targets],
        )
        self._add_up = tf.function(
            lambda value: strategy.run(lambda local: add_up(tf.identity(local)), (value,)),
            input_signature=[tf.TensorSpec((None,), tf.float32)],
        )

    def train(
        self, rows: Array, targets: Array, weights: Array, batch_size: int
    ) -> tuple[Any, Any]:
        """Make one step; every worker must call it, though its share may be empty.

        Args:
            rows: this worker's share of the batch, `[n, ...]`.
            targets: `int64[n]`.
            weights: `float32[n]`, of each image in the loss.
            batch_size: images over all workers.

        Returns:
            The batch's mean loss and its number of right answers, over all workers, as tensors:
            reading them waits for the step.
        """
        result: tuple[Any, Any] = self._train(rows, targets, weights, float(batch_size))
        return result

    def evaluate(self, rows: Array, targets: Array) -> npt.NDArray[np.float32]:
        """Summed loss and right answers of this worker's rows alone: `float32[2]`."""
        losses, correct = self._evaluate(rows, targets)
        return np.array([losses.numpy().sum(), correct.numpy()], np.float32)

    def add_up(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The sum of `float32[k]` over the workers; every worker must call it."""
        total: npt.NDArray[np.float32] = self._add_up(values).numpy()
        return total
