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


def stacked(layers=4, width=32):
    """Layers on a first axis, as a scan over them has it."""

    def dense(inputs, outputs):
        return {"kernel": shape(layers, inputs, outputs), "bias": shape(layers, outputs)}

    return {
        "embed": {"embedding": shape(500, width)},
        "layers": {
            "attn": {name: dense(width, width) for name in ("q", "k", "v", "o")},
            "mlp": {"up": dense(width, 4 * width), "down": dense(4 * width, width)},
            "ln": {"scale": shape(layers, width), "bias": shape(layers, width)},
        },
        "final_ln": {"scale": shape(width)},
        "lm_head": {"kernel": shape(width, 500)},
    }


def heads(layers=3, width=32, count=4):
    """Attention with an axis of heads, as Flax has it."""
    size = width // count

    def layer():
        inner = {"kernel": shape(width, count, size), "bias": shape(count, size)}
        out = {"kernel": shape(count, size, width), "bias": shape(width)}
        mlp = {"wi": {"kernel": shape(width, 4 * width)}, "wo": {"kernel": shape(4 * width, width)}}
        attn = dict.fromkeys(("query", "key", "value"), inner) | {"out": out}
        return {"attn": attn, "mlp": mlp, "ln": {"scale": shape(width)}}

    tree = {"token_embedder": {"embedding": shape(500, width)}}
    tree |= {f"layer_{index}": layer() for index in range(layers)}
    return tree | {"logits_dense": {"kernel": shape(width, 500)}}


def outputs_first(layers=3, width=32):
    """Weights of (outputs, inputs), as Equinox and PyTorch have them."""

    def linear(inputs, outputs):
        return {"weight": shape(outputs, inputs), "bias": shape(outputs)}

    def block():
        inner = {name: linear(width, width) for name in ("q", "k", "v")}
        norm = {"weight": shape(width), "bias": shape(width)}
        up, down = linear(width, 4 * width), linear(4 * width, width)
        return inner | {"up": up, "down": down, "norm": norm}

    blocks = [block() for _ in range(layers)]
    embed = {"weight": shape(500, width)}
    return {"embed": embed, "blocks": blocks, "head": linear(width, 500)}
