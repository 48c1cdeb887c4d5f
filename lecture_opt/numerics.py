"""The ground floor of all rooms: dtypes, roots, bytes, and integers kept whole.

Arithmetic is done in float32 at least: in bfloat16 a decay of 0.999 is 1, in float16 the square
of 1e-4 is 0, and sums of 16-bit losses overflow or stall.

>>> import jax.numpy as jnp
>>> compute_dtype(jnp.bfloat16)
dtype('float32')
"""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

PyTree: TypeAlias = Any
"""Arrays in dicts, lists, tuples and other registered containers."""


def known(*values: PyTree) -> bool:
    """Whether the values are known now, before the program runs: no array in them is traced."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def compute_dtype(*dtypes: DTypeLike) -> jnp.dtype[Any]:
    """The dtype to compute in for arrays of these dtypes: 32 bits or more, never integer.

    >>> compute_dtype(jnp.complex64, jnp.float64)
    dtype('complex128')
    """
    inexact = [d for d in dtypes if jnp.issubdtype(d, jnp.inexact)]
    bits = max([32, *(jnp.finfo(d).bits for d in inexact)])
    if any(jnp.issubdtype(d, jnp.complexfloating) for d in inexact):
        return jnp.dtype(f"complex{2 * bits}")
    return jnp.dtype(f"float{bits}")


def tree_bytes(tree: PyTree) -> int:
    """Bytes of all arrays of a tree, or of the arrays that its shapes stand for.

    >>> tree_bytes({"a": jnp.ones(3), "b": None})
    12
    """
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def smallest_normal(dtype: DTypeLike) -> float:
    """The smallest positive number that `dtype` holds with all its digits."""
    return float(jnp.finfo(dtype).tiny)


def abs_sq(g: jax.Array) -> jax.Array:
    """|g|^2: g * g, or the sum of the squares of the real and the imaginary part."""
    if jnp.iscomplexobj(g):
        return g.real * g.real + g.imag * g.imag
    return g * g


@jax.custom_jvp
def sqrt(x: jax.Array) -> jax.Array:
    """The square root, with derivative 0 at 0 in place of inf, so that updates can be derived."""
    return jnp.sqrt(x)


@sqrt.defjvp
def _sqrt_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    root = sqrt(*primals)
    return root, jnp.where(root == 0, 0, tangents[0] / (2 * nonzero(root)))


def nonzero(denominator: jax.Array) -> jax.Array:
    """The denominator with 1 for 0: without an epsilon, a zero gradient gives 0 / 1, not 0 / 0."""
    return jnp.where(denominator == 0, 1, denominator)


def native(value: Any) -> Any:
    """The value; an array of NumPy, in this machine's order of bytes, which files may not have."""
    if not isinstance(value, np.ndarray):
        return value
    return value.astype(value.dtype.newbyteorder("="), copy=False)


def check_integers(where: str, value: ArrayLike, dtype: DTypeLike | None = None) -> None:
    """Raises where an integer of `value` would be cut to fewer bits: 2**32 + 3 would become 3.

    Args:
        where: The function and the argument, as messages begin: "gather: ids".
        value: An array or a list of numbers, as it came from outside: not yet in JAX.
        dtype: What it becomes; by default, what JAX makes of it.

    Raises:
        ValueError: An integer is past that dtype.

    >>> check_integers("gather: ids", np.array([2**32 + 3]))
    Traceback (most recent call last):
        ...
    ValueError: gather: ids holds 4294967299, which is past int32, the dtype that JAX gives it
    """
    if isinstance(value, jax.Array) and (
        dtype is None or value.dtype == dtype or not (known(value) and value.is_fully_addressable)
    ):
        return
    array = native(np.asarray(value))
    past_64_bits = array.dtype == object and all(isinstance(n, int) for n in array.flat)
    if not array.size or not (past_64_bits or np.issubdtype(array.dtype, np.integer)):
        return
    given = jax.dtypes.canonicalize_dtype(np.int64 if past_64_bits else array.dtype)
    limits = np.iinfo(given if dtype is None else dtype)
    for extreme in (int(array.max()), int(array.min())):
        if not limits.min <= extreme <= limits.max:
            raise ValueError(
                f"{where} holds {extreme}, which is past {limits.dtype}, the dtype that "
                f"{'JAX gives it' if dtype is None else 'it has here'}"
            )
