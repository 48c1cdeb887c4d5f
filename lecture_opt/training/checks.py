"""What `fit` asks of its arguments, told before any step."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt.numerics import PyTree, check_integers, known, native

_APART = "; eqx.partition(model, eqx.is_inexact_array) sets functions and such leaves apart"
_LISTS = "; a list is a tree of its items, and numpy.asarray makes one array of it"


def check_count(name: str, value: Any, least: int) -> int:
    """The value as an integer, which must be at least `least`."""
    try:
        count: int = operator.index(value)
    except TypeError:
        raise TypeError(f"fit: {name} is {value!r}; wanted an integer") from None
    if count < least:
        raise ValueError(f"fit: {name} is {count}; wanted at least {least}")
    return count


def check_untraced(**arguments: PyTree) -> None:
    """Raises where a transformation of JAX traces `fit` itself, whose loop runs on the host."""
    traced = [name for name, value in arguments.items() if not known(value)]
    if traced or not known(jnp.zeros(())):  # inside jit that array is traced, too
        raise TypeError(
            f"fit: {' and '.join(traced) or 'the call'} is traced, by jit, vmap or grad; fit runs "
            "its loop on the host, so call it outside of them, in a Python loop over seeds or "
            "rates; to vmap or derive a training, write its steps with jax.lax.scan"
        )


def check_functions(loss_fn: Any, optimizer: Any) -> None:
    """Raises unless both can be called, and kept with their program."""
    if not callable(loss_fn):
        raise TypeError(
            f"fit: loss_fn is {_shown(loss_fn)}; wanted a function (params, batch) -> loss"
        )
    check_optimizer("fit", optimizer)
    for name, value in (("loss_fn", loss_fn), ("optimizer", optimizer)):
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"fit: {name} is a {type(value).__name__}, which can't be hashed and so not be "
                "kept with its compiled loop; wrap it in a function"
            ) from None


def check_params(params: PyTree) -> None:
    """Raises unless every leaf is a floating array."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError(f"fit: params is {params!r}, without an array; there is nothing to train")
    for path, leaf in leaves:
        dtype = _dtype(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact) or isinstance(leaf, jax.ShapeDtypeStruct):
            raise TypeError(
                f"fit: params{jax.tree_util.keystr(path)} is a {type(leaf).__name__} of dtype "
                f"{dtype}; wanted a floating array{_APART if callable(leaf) else ''}"
            )


def _dtype(leaf: Any) -> Any:
    """The dtype in JAX; a text is an object, not the dtype of that name."""
    try:
        return np.dtype(object) if isinstance(leaf, str | bytes | type) else jnp.result_type(leaf)
    except TypeError:
        return getattr(leaf, "dtype", np.dtype(object))


def check_optimizer(function: str, optimizer: Any) -> None:
    """Raises unless it has an `init` and an `update`."""
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise TypeError(
            f"{function}: optimizer is {_shown(optimizer)}; wanted an "
            "optax.GradientTransformation, that is an object with init and update"
        )


def arrays(name: str, tree: PyTree) -> PyTree:
    """The tree with its leaves as arrays, where they are, all of them numbers that JAX holds."""

    def one(path: tuple[Any, ...], leaf: Any) -> Any:
        where = f"fit: {name}{jax.tree_util.keystr(path)}"
        if isinstance(leaf, np.ma.MaskedArray):
            raise TypeError(
                f"{where} is a masked array, and JAX would drop its mask; give the mask as an "
                "array of its own, and use it in the loss"
            )
        try:
            array = leaf if isinstance(leaf, jax.Array) else native(np.asarray(leaf))
            if not isinstance(leaf, jax.Array):
                _try(array.dtype)
        except (TypeError, ValueError):
            dtype = getattr(leaf, "dtype", None)
            raise TypeError(
                f"{where} is a {type(leaf).__name__}{f' of dtype {dtype}' if dtype else ''}; "
                "wanted an array of numbers"
            ) from None
        check_integers(where, leaf)
        return array

    return jax.tree_util.tree_map_with_path(one, tree)


@functools.cache
def _try(dtype: np.dtype) -> None:
    """Raises where JAX takes no array of this dtype."""
    jnp.asarray(np.empty(0, dtype))


def check_data(data: PyTree) -> tuple[PyTree, int]:
    """The data on the device, and the number of examples."""
    data = jax.tree.map(jnp.asarray, arrays("data", data))
    first = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        name = f"data{jax.tree_util.keystr(path)}"
        if leaf.ndim == 0:
            raise ValueError(f"fit: {name} is a scalar; wanted a leading axis of examples{_LISTS}")
        first = first or (name, leaf.shape)
        if leaf.shape[0] != first[1][0]:
            raise ValueError(
                f"fit: {name} has shape {leaf.shape} and {first[0]} has {first[1]}; "
                "wanted leading axes of one length"
            )
    if first and first[1][0] == 0:
        raise ValueError(f"fit: {first[0]} has shape {first[1]}, no examples; wanted at least one")
    return data, first[1][0] if first else 0


def check_loader(data: Any) -> None:
    """Raises for a loader or a generator, which a run could not begin anew."""
    others = hasattr(data, "dtype") or isinstance(data, str | bytes | set | frozenset)
    goes_through = hasattr(data, "__next__") or (
        hasattr(data, "__iter__") and not others and jax.tree_util.all_leaves([data])
    )
    if goes_through:
        raise TypeError(
            f"fit: data is a {type(data).__name__}; wanted arrays, or a function of the epoch that "
            "gives its batches: data=lambda epoch: loader"
        )


def check_key(key: Any) -> Any:
    """The key, typed where it came as raw integers."""
    dtype = getattr(key, "dtype", None)
    try:
        if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
            key = jax.random.wrap_key_data(key)
        single = key.shape == ()
    except (TypeError, ValueError):
        single = False
    if not single:
        raise TypeError(f"fit: key is {key!r}; batches need one random key, as jax.random.key(0)")
    return key


def check_evaluation(eval_fn: Any, eval_every: Any, until: Any, patience: Any) -> None:
    """Raises where an argument that depends on `eval_fn` comes without it."""
    if eval_fn is None:
        for name, value in (("eval_every", eval_every), ("until", until), ("patience", patience)):
            if value is not None:
                raise ValueError(f"fit: {name} is given and eval_fn is not")
    elif not callable(eval_fn):
        raise TypeError(f"fit: eval_fn is {_shown(eval_fn)}; wanted a function params -> value")
    if eval_every is not None:
        check_count("eval_every", eval_every, 1)


def check_opt_state(
    opt_state: PyTree, optimizer: optax.GradientTransformation, params: PyTree, start_step: int
) -> PyTree:
    """The state, if it is one of this optimizer for these params; by default their first."""
    if opt_state is None:
        opt_state = optimizer.init(params)
        first = next((path for path, _ in jax.tree_util.tree_leaves_with_path(opt_state)), None)
        if start_step and first is not None:
            raise ValueError(
                f"fit: start_step is {start_step} and opt_state is not given, so the optimizer's "
                f"opt_state{jax.tree_util.keystr(first)} would start anew; give both of the run "
                "that goes on, start_step=result.step and opt_state=result.opt_state"
            )
        return opt_state
    like = jax.eval_shape(optimizer.init, params)
    wanted: Any = jax.tree.structure(like)
    if jax.tree.structure(opt_state) != wanted:
        raise ValueError(
            f"fit: opt_state is {jax.tree.structure(opt_state)}; this optimizer and params "
            f"want {wanted}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(opt_state), jax.tree.leaves(like), strict=True)
    for (path, leaf), one in pairs:
        if jnp.shape(leaf) != one.shape:
            raise ValueError(
                f"fit: opt_state{jax.tree_util.keystr(path)} has shape {jnp.shape(leaf)}; this "
                f"optimizer and params want {one.shape}"
            )
    return opt_state


def check_updated(grads: PyTree, opt_state: PyTree, result: Any) -> tuple[PyTree, PyTree]:
    """The updates and the state, if `optimizer.update` gives both, of the trees that it got."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"fit: optimizer.update gives {_shown(result)}; wanted (updates, state)")
    for name, new, old in (("updates", result[0], grads), ("a state", result[1], opt_state)):
        there: Any = jax.tree.structure(old)
        if jax.tree.structure(new) != there:
            raise TypeError(
                f"fit: optimizer.update gives {name} {jax.tree.structure(new)}; it got {there}"
            )
    return result


def check_loss(loss: Any, has_aux: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss, if it's a real scalar, and its metrics; this runs when the step is traced."""
    metrics: Any = {}
    if has_aux:
        if not (isinstance(loss, tuple) and len(loss) == 2 and isinstance(loss[1], dict)):
            shapes = jax.tree.map(jnp.shape, loss)
            raise TypeError(
                f"fit: has_aux is True and loss_fn gives shape {shapes}; wanted (loss, metrics), "
                "where metrics is a dict of scalars"
            )
        loss, metrics = loss
    given: Any = jax.tree.structure(loss)
    if given != jax.tree.structure(0) or jnp.shape(loss) != ():
        shapes = jax.tree.map(jnp.shape, loss)
        pair = "; a pair of it and a dict of metrics needs has_aux=True"
        hint = pair if isinstance(loss, tuple) else ""
        raise TypeError(f"fit: loss_fn gives shape {shapes}; wanted a scalar, as a mean does{hint}")
    if not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
        raise TypeError(f"fit: loss_fn gives dtype {jnp.result_type(loss)}; wanted a float")
    return jnp.asarray(loss), {name: _metric(name, value) for name, value in metrics.items()}


def _metric(name: Any, value: Any) -> jax.Array:
    leaf = jax.tree_util.all_leaves([value])
    if not leaf or jnp.shape(value) != () or jnp.iscomplexobj(value):
        shapes = jax.tree.map(jnp.shape, value)
        raise TypeError(
            f"fit: loss_fn gives metrics[{name!r}] of shape {shapes}; wanted a real scalar, the "
            "mean over the batch"
        )
    value = jnp.asarray(value)
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.float32)


def _shown(value: Any) -> str:
    """The value as it is written, or its type where that is long, as for arrays."""
    text = repr(value)
    return text if len(text) <= 80 else f"a {type(value).__name__}"
