"""Tasks on real text that every Python installation carries: `pydoc_data.topics`.

The text, and so the numbers, differ a little from one version of Python to the next.
"""

import collections
import re

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import losses, models
from lecture_opt.problems.parts import Pool
from lecture_opt.problems.task import Data, Params, Task, binary_classifier, split

# Topics that come from the library's manual; the others are the language reference's.
LIBRARY = {
    "bltin-code-objects", "bltin-ellipsis-object", "bltin-null-object", "bltin-type-objects",
    "debugger", "formatstrings", "specialattrs", "string-methods", "truth", "typesfunctions",
    "typesmapping", "typesmethods", "typesmodules", "typesseq", "typesseq-mutable",
}  # fmt: skip
LONGEST = 64
CONTEXT = 6
ALPHABET = 64
BYTES = 128
STRETCHES, WINDOWS = 60, 100


def bag_of_words() -> Task:
    """Logistic regression on which words a paragraph has.

    A paragraph is the list of its words' numbers, filled up with a number whose weight is
    masked; the gradient is zero for all words that a minibatch lacks.
    """
    ids, labels, features = word_features(paragraphs())

    def init(key: jax.Array) -> Params:
        del key  # the problem is convex and starts at zero
        return {"kernel": jnp.zeros(features), "bias": jnp.zeros(())}

    def apply(params: Params, ids: jax.Array) -> jax.Array:
        weights = params["kernel"].at[ids].get(mode="fill", fill_value=0)
        return weights.sum(axis=-1) + params["bias"]

    text = (
        f"{len(ids):,} paragraphs of Python's documentation, of the library's manual or of the "
        f"language reference: logistic regression over {features:,} sparse words."
    )
    data = split(ids, labels, standardise=False)
    return binary_classifier("text-bag-of-words", init, apply, data, text)


def characters() -> Task:
    """A network that predicts a character from the six before it (Bengio and others, 2003)."""
    hidden = models.dense(CONTEXT * 8, 32)
    head = models.dense(32, ALPHABET)

    def init(key: jax.Array) -> Params:
        first, second, third = jax.random.split(key, 3)
        table = jax.random.normal(first, (ALPHABET, 8))
        return {"embedding": table, "hidden": hidden.init(second), "head": head.init(third)}

    def loss(params: Params, part: Data) -> jax.Array:
        x = params["embedding"][part[0]]
        x = x.reshape(*x.shape[:-2], CONTEXT * 8)
        logits = head.apply(params["head"], jnp.tanh(hidden.apply(params["hidden"], x)))
        return losses.softmax_cross_entropy(logits, part[1])

    text = (
        "6,000 places in Python's documentation, the next character from the six before: an "
        f"embedding of {ALPHABET} characters, a network 48-32-{ALPHABET} with tanh."
    )
    data = character_windows([text for text, _ in paragraphs()])
    return Task("text-characters", init, loss, loss, data, "nats per character", False, text)


def paragraphs() -> list[tuple[str, bool]]:
    """Each paragraph of eight words or more, and whether only the library's manual has it."""
    from pydoc_data.topics import topics

    owners: dict[str, set[str]] = {}
    for topic in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[topic]):
            if len(words(paragraph)) >= 8:
                owners.setdefault(" ".join(paragraph.split()), set()).add(topic)
    return [(paragraph, topics <= LIBRARY) for paragraph, topics in owners.items()]


def words(text: str) -> list[str]:
    """The words of a text, lower case.

    >>> words("The 'in' operator: __contains__.")
    ['the', 'in', 'operator', '__contains__']
    """
    return re.findall(r"[a-z_]+", text.lower())


def word_features(texts: list[tuple[str, bool]]) -> tuple[np.ndarray, np.ndarray, int]:
    """(n, LONGEST) numbers of the words of each text, labels, how many words there are.

    Places that a text does not fill hold the number of words itself, one past the last.
    """
    bags = [sorted(set(words(text))) for text, _ in texts]
    known = {word: i for i, word in enumerate(sorted({word for bag in bags for word in bag}))}
    ids = np.full((len(bags), LONGEST), len(known), np.int32)
    for row, bag in zip(ids, bags, strict=True):
        present = [known[word] for word in bag][:LONGEST]
        row[: len(present)] = present
    return ids, np.array([label for _, label in texts], np.float32), len(known)


def byte_windows(length: int) -> Pool:
    """Windows (n, length) of bytes below `BYTES`, one after the other in the text.

    Eight neighbours stay in one part; one window in fifty validates, and one in fifty tests.
    """
    joined = "\n".join(text for text, _ in paragraphs())
    numbers = np.frombuffer(joined.encode("ascii", "replace"), np.uint8)
    count = len(numbers) // length // 8 * 8
    windows = numbers[: count * length].reshape(count, length)
    return Pool(windows.astype(np.int32), shares=(0.02, 0.02), block=8)


def character_windows(texts: list[str]) -> Pool:
    """6,000 windows of CONTEXT characters and the next, from stretches that stay in one part."""
    joined = "\n".join(texts)
    common = [c for c, _ in collections.Counter(joined).most_common(ALPHABET - 1)]
    known = {character: i for i, character in enumerate(sorted(common))}
    numbers = np.array([known.get(c, ALPHABET - 1) for c in joined], np.int32)
    rng, size = np.random.default_rng(0), len(numbers) // STRETCHES
    windows = np.concatenate(
        [
            rng.permutation(np.lib.stride_tricks.sliding_window_view(stretch, CONTEXT + 1))[
                :WINDOWS
            ]
            for stretch in numbers[: size * STRETCHES].reshape(STRETCHES, size)
        ]
    )
    return Pool((windows[:, :-1].copy(), windows[:, -1].copy()), (0.1, 0.1), WINDOWS)
