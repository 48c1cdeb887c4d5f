"""What is said of errors, in a line."""

import jax

from lecture_opt.problems import bound


def from_host(why: str) -> str:
    """What is said of runs that can't be traced."""
    return f"its runs go step by step from the host, as it can't be traced: {why}"


def untraced(error: BaseException | None) -> str:
    """Why tracing failed, where a value was asked of a tracer; else empty."""
    while error is not None:
        if isinstance(error, bound.UNTRACED):
            return reason(error)
        error = error.__cause__ or error.__context__
    return ""


def reason(error: BaseException) -> str:
    """An error in a line: its kind and the first line of its message.

    The message of an error of a host callback is a traceback, whose last line says what it was.
    """
    if isinstance(error, jax.errors.UnexpectedTracerError):
        return (
            "an object outside of the state kept a value of a traced call, which is gone (a "
            "module, guide or list that is made once): make it in `start` and carry it in the state"
        )
    lines = str(error).strip().splitlines()
    if any(line.startswith("Traceback") or "Traceback (" in line for line in lines):
        return lines[-1].strip()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
