"""From encoded images to confidences inside one replica: admission, batching, engine, cache."""
