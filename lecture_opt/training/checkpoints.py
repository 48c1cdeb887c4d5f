"""Checkpoints of `fit`, through orbax: written while training goes on, each whole or not there.

`directory/STEP` holds the parameters and the state by name, the history, and what the run was.
Orbax writes it beside and renames it when it is whole; one no longer wanted is renamed to
`deleted/` before it is removed. Nothing is pickled.
"""

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from lecture_opt.numerics import PyTree
from lecture_opt.training import contents, identity
from lecture_opt.training import history as histories
from lecture_opt.training.history import History, Snapshot
from lecture_opt.training.saving import Checkpoint

_TRASH = "deleted"
_OF_SYSTEMS = {
    "lost+found", "Thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN", "System Volume Information",
}  # fmt: skip
"""What systems put into folders; so they do with names that begin with a dot."""


class Store(NamedTuple):
    """An open folder of checkpoints."""

    checkpoint: Checkpoint
    manager: Any
    run: dict[str, Any]
    """What a run must have in common with the one it goes on with."""


@contextlib.contextmanager
def opened(checkpoint: Checkpoint, run: dict[str, Any]) -> Iterator[Store]:
    """The folder, checked and open; on leaving, the last checkpoint is written out."""
    ocp = _orbax()
    directory = os.path.abspath(os.path.expanduser(checkpoint.directory))
    _check_directory(directory)
    policies = ocp.checkpoint_managers
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(
            [
                policies.LatestN(checkpoint.keep),
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics["score"],
                    reverse=True,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        ),
        cleanup_tmp_directories=True,
        todelete_subdir=_TRASH,
        # Made on a thread, a folder that can't be made leaves other threads waiting for it, and
        # with them the process, for 20 minutes.
        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
    )
    try:
        manager = ocp.CheckpointManager(directory, options=options)
    except Exception as error:
        raise ValueError(
            f"fit: checkpoint: {directory} can't be opened: {type(error).__name__}: {error}"
        ) from error
    store = Store(checkpoint, manager, run)
    try:
        yield store
        with _writing(store, "the last step"):
            manager.wait_until_finished()
        _empty_trash(store)
    finally:
        with contextlib.suppress(Exception):  # what failed was raised above
            manager.close()


def save(store: Store, snapshot: Snapshot) -> None:
    """Start writing a checkpoint; waits for the one before."""
    ocp = _orbax()
    step, place, params, opt_state, history, best = snapshot
    state = contents.named(params=params, opt_state=opt_state, best=best)
    seen = histories.arrays(history)
    about = {
        "run": store.run,
        "state": contents.described(state),
        "history": contents.described(seen),
        "evaluation_steps": [at for at, _ in history.evaluations],
        "place": place,
        "ends": history.ends,
    }
    score = _score(store, step, history.evaluations, seen["losses"])
    with _writing(store, f"step {step}"):
        store.manager.wait_until_finished()
        _empty_trash(store)
        store.manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(contents.filled(state)),
                history=ocp.args.PyTreeSave(contents.filled(seen)),
                about=ocp.args.JsonSave(about),
            ),
            metrics={"score": score} if math.isfinite(score) else None,
            force=True,
        )


def restore(
    store: Store, end: tuple[float, float], begun: Snapshot, eval_fn: Callable[[PyTree], Any] | None
) -> Snapshot:
    """The latest checkpoint, its arrays placed like those of `begun`; `begun` where it is new.

    Args:
        end: The step and the epoch that the run ends with.
    """
    step = store.manager.latest_step()
    if step is None:
        return begun
    ocp = _orbax()
    like = contents.named(params=begun.params, opt_state=begun.opt_state, best=begun.best)
    with _reading(store, step):
        wanted = ocp.args.Composite(about=ocp.args.JsonRestore())
        about = store.manager.restore(step, args=wanted)["about"]
        run, described, history = about["run"], about["state"], contents.empty(about["history"])
    where = f"fit: checkpoint: {_path(store, step)}"
    identity.check(where, run, store.run, store.checkpoint.accept)
    contents.check_state(where, described, contents.described(like))
    epoch, done = about.get("place", (0, 0))
    if step > end[0] or (epoch, done) > (end[1], 0):
        last = f"step, {end[0]}; ask for more steps" if step > end[0] else f"epoch, {end[1]}"
        raise ValueError(f"{where} is beyond the last {last}")
    with _reading(store, step):
        wanted = ocp.args.Composite(state=_restore_args(like), history=_restore_args(history))
        read = store.manager.restore(step, args=wanted)
    leaves = [read["state"].get(name, leaf) for name, leaf in like.items()]
    tree = jax.tree.structure((begun.params, begun.opt_state, begun.best))
    params, opt_state, best = jax.tree.unflatten(tree, leaves)
    seen = {name: read["history"].get(name, array) for name, array in history.items()}
    steps, ends = about["evaluation_steps"], about.get("ends", [])
    losses, metrics, rest = histories.parted(seen)
    evaluations = contents.unstacked(steps, rest, eval_fn, params)
    found = History([losses], metrics, ends, evaluations)
    return Snapshot(step, (epoch, done), params, opt_state, found, best)


def _score(
    store: Store, step: int, evaluations: list[tuple[int, Any]], losses: np.ndarray
) -> float:
    """The number by which the lowest checkpoint is best; NaN does not compete."""
    best = store.checkpoint.best
    if best is None:
        last = store.manager.latest_step()
        new = len(losses) if last is None else step - last
        return float(np.mean(losses[-new:], dtype=np.float64))
    at, value = evaluations[-1] if evaluations else (None, None)
    score = best(value) if at == step else math.nan
    try:
        return float(score)
    except TypeError:
        raise TypeError(f"fit: checkpoint.best gives {score!r}; wanted a number") from None


# ---- orbax, the folder, errors ------------------------------------------------------------


def _orbax() -> Any:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError(
            "fit: checkpoint needs orbax: pip install 'lecture_opt[checkpoint]'"
        ) from error
    return ocp


def _restore_args(like: dict[str, Any]) -> Any:
    """Read each array as it is: one of NumPy to NumPy, one of jax to its devices."""
    ocp, like = _orbax(), contents.filled(like)

    def one(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return ocp.RestoreArgs(restore_type=np.ndarray)
        return ocp.ArrayRestoreArgs(
            sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype
        )

    return ocp.args.PyTreeRestore(item=like, restore_args={n: one(a) for n, a in like.items()})


def _check_directory(directory: str) -> None:
    """Raises unless it can be written to and holds only checkpoints, and what systems put there."""
    try:
        os.makedirs(directory, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise type(error)(
            error.errno, f"fit: checkpoint: {directory} can't be written to: {error.strerror}"
        ) from error
    own = [n for n in names if n.isdigit() or n == _TRASH or ".orbax-checkpoint-tmp" in n]
    foreign = [n for n in names if n not in {*own, *_OF_SYSTEMS} and not n.startswith(".")]
    if foreign:
        raise ValueError(
            f"fit: checkpoint: {directory} holds other files than checkpoints: "
            f"{', '.join(foreign[:3])}; wanted a new or empty folder, or a run's"
        )


@contextlib.contextmanager
def _writing(store: Store, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        whole = []
        with contextlib.suppress(OSError):  # the folder itself may be gone
            whole = sorted(int(n) for n in os.listdir(store.manager.directory) if n.isdigit())
        raise OSError(
            f"fit: checkpoint of {what} could not be written to {store.manager.directory}: "
            f"{error}. The checkpoints of steps {whole} are whole"
        ) from error


@contextlib.contextmanager
def _reading(store: Store, step: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        earlier = [other for other in store.manager.all_steps() if other < step]
        advice = f"remove it to go on from step {max(earlier)}" if earlier else "remove it"
        raise ValueError(
            f"fit: checkpoint: {_path(store, step)} is damaged, or not a checkpoint of fit; "
            f"{advice}. Reading it gave {type(error).__name__}: {error}"
        ) from error


def _path(store: Store, step: int) -> str:
    return os.path.join(store.manager.directory, str(step))


def _empty_trash(store: Store) -> None:
    if jax.process_index() == 0:
        shutil.rmtree(os.path.join(store.manager.directory, _TRASH), ignore_errors=True)
