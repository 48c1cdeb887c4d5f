"""Trees to inspect, as shapes."""

import jax


def shape(*sizes, dtype="float32"):
    return jax.ShapeDtypeStruct(sizes, dtype)


def transformer(layers=3, width=64, dtype="float32"):
    """Embedding, blocks of attention and perceptron, norm and head."""

    def dense(inputs, outputs):
        kernel = shape(inputs, outputs, dtype=dtype)
        return {"kernel": kernel, "bias": shape(outputs, dtype=dtype)}

    tree = {"embed": {"embedding": shape(1000, width, dtype=dtype)}}
    for index in range(layers):
        tree[f"block_{index}"] = {
            "attn": {name: dense(width, width) for name in ("wq", "wk", "wv", "wo")},
            "mlp": {"up": dense(width, 4 * width), "down": dense(4 * width, width)},
            "norm": {"scale": shape(width, dtype=dtype)},
        }
    return tree | {"final_norm": {"scale": shape(width, dtype=dtype)}, "head": dense(width, 1000)}
