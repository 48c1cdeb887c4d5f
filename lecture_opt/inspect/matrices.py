"""Leaves whose update is made of a whole matrix: orthogonalised, or divided by factors."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lecture_opt.inspect import probing
from lecture_opt.inspect.probing import COPIES, Probe

FLAT = 0.4  # a small singular value over the largest, of an orthogonalised update
ALONG = 0.9  # its cosine with the gradient's nearest orthogonal matrix


class Matrix(NamedTuple):
    """How an update treats a leaf as matrices.

    Attributes:
        text: The rule in words.
        rows: The axes taken as rows.
        columns: The axes taken as columns.
        size: The largest singular value of a step.
    """

    text: str
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    size: float = 0.0


def matrices(asked: Probe, micro: int) -> dict[int, Matrix]:
    """The leaves whose updates have singular values all alike, or that are divided by factors."""
    one = [uneven(shape.shape) for shape in asked.shapes]
    grads = [np.tile(leaf, (COPIES, *[1] * leaf.ndim)).astype(leaf.dtype) for leaf in one]
    updates = probing.whole_updates(asked, grads, probing.full(asked, np.zeros(COPIES)), 6 * micro)
    found = {}
    for index, (update, gradient) in enumerate(zip(updates, one, strict=True)):
        how = factored(update[0], gradient) or orthogonalised(update[0], gradient)
        if how is not None:
            found[index] = how
    return found


def orthogonalised(update: Any, gradient: Any) -> Matrix | None:
    """The axes over which an update is orthogonal and its gradient is not."""
    best, found = ALONG, None
    for rows, columns in splits(gradient.ndim):
        values = singular_values(update, rows, columns)
        flat = flatness(values)
        if flat < FLAT or flat < 1.5 * flatness(singular_values(gradient, rows, columns)):
            continue
        along = alignment(update, gradient, rows, columns)
        if along > best:
            words = f"orthogonalised(rows={[*rows]}, columns={[*columns]})"
            best, found = along, Matrix(words, rows, columns, float(values.max()))
    return found


def alignment(update: Any, gradient: Any, rows: tuple[int, ...], columns: tuple[int, ...]) -> float:
    """The cosine of an update's angle to the nearest orthogonal matrices of its gradient.

    A rule of single elements can make singular values alike too, but along other vectors.
    """
    some = as_matrices(gradient, rows, columns)
    short = some if some.shape[1] <= some.shape[2] else some.swapaxes(1, 2)
    squares, axes = np.linalg.eigh(short @ short.swapaxes(1, 2))  # quicker than an SVD
    roots = axes / np.sqrt(np.maximum(squares, 1e-300))[:, None]
    nearest = roots @ (axes.swapaxes(1, 2) @ short)
    nearest = nearest if short is some else nearest.swapaxes(1, 2)
    update = as_matrices(update, rows, columns)
    length = np.linalg.norm(update) * np.linalg.norm(nearest)
    return float(abs(np.sum(update * nearest)) / length) if length else 0.0


def splits(axes: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ways to take some axes as rows and some as columns; the others are a batch of matrices.

    Rows have the first axis of those that are no batch, so that no way comes twice.
    """
    for what in itertools.product("rcb", repeat=axes):
        rows, columns = (tuple(i for i, kind in enumerate(what) if kind == k) for k in "rc")
        if rows and columns and rows[0] < columns[0]:
            yield rows, columns


def singular_values(array: Any, rows: tuple[int, ...], columns: tuple[int, ...]) -> Any:
    """Those of each matrix of a batch: (batch, the shorter side)."""
    if not np.all(np.isfinite(array)) or not array.size:
        return np.zeros((1, 1))
    some = as_matrices(array, rows, columns)
    short = some if some.shape[1] <= some.shape[2] else some.swapaxes(1, 2)
    squares = np.linalg.eigvalsh(short @ short.swapaxes(1, 2))[:, ::-1]  # quicker than an SVD
    return np.sqrt(np.maximum(squares, 0.0))


def as_matrices(array: Any, rows: tuple[int, ...], columns: tuple[int, ...]) -> Any:
    """An array as a batch of matrices: (batch, rows, columns)."""
    batch = tuple(i for i in range(array.ndim) if i not in rows + columns)
    shape = [int(np.prod([array.shape[i] for i in axes])) for axes in (batch, rows, columns)]
    return array.transpose(batch + rows + columns).reshape(shape)


def flatness(values: Any) -> float:
    """A small singular value over the largest, of the matrix where it is least.

    A tenth of the values may be smaller: few steps of Newton-Schulz don't reach the smallest.
    """
    if values.shape[1] < 2 or not np.all(values[:, 0]):
        return 0.0
    return float(np.min(np.quantile(values, 0.1, axis=1) / values[:, 0]))


def factored(update: Any, gradient: Any) -> Matrix | None:
    """Whether a gradient is divided by a row's times a column's factor, as in Adafactor."""
    for rows, columns in splits(gradient.ndim):
        if gradient.ndim - len(rows) - len(columns) != gradient.ndim - 2 or not np.all(update):
            continue
        ratio = np.abs(gradient / update)
        values = singular_values(ratio, rows, columns)
        uneven = all(
            np.any(np.ptp(ratio, axis=axes) > 1e-3 * ratio.max()) for axes in (rows, columns)
        )
        if uneven and np.all(values[:, 1:2] < 1e-4 * values[:, :1]) and values.shape[1] > 2:
            return Matrix(f"factored(rows={[*rows]}, columns={[*columns]})", rows, columns)
    return None


def uneven(shape: tuple[int, ...]) -> Any:
    """An array whose singular values are uneven, whichever axes are taken for rows.

    It is the same for leaves of one shape, so that their steps can be compared. A matrix has
    values from 1 to 0.1; an array of more axes becomes smaller along each of them.
    """
    array = np.random.default_rng(16).normal(size=shape)
    if array.ndim < 2 or array.size == 0:
        return array
    if array.ndim == 2:
        left, values, right = np.linalg.svd(array, full_matrices=False)
        return left * np.geomspace(1.0, 0.1, len(values)) @ right
    for size, axis in zip(shape, np.ogrid[tuple(map(slice, shape))], strict=True):
        array = array * 0.3 ** (axis / max(size - 1, 1))
    return array
