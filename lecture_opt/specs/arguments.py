"""The arguments in a text's brackets: literals, and ranges to search."""

import ast
from typing import Any, NamedTuple

from lecture_opt.specs.lookup import SpecError

KINDS = ("log", "log1m", "uniform", "choice")


class Range(NamedTuple):
    """Where to search an argument: `low` to `high`, or among `values` where `kind` is "choice"."""

    kind: str
    low: float = 0.0
    high: float = 0.0
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        numbers = self.values or (self.low, self.high)
        return f"{self.kind}({', '.join(f'{number:g}' for number in numbers)})"


def keywords(text: str, brackets: str) -> dict[str, Any]:
    """Read the arguments in `brackets` as literals; nothing is evaluated."""
    wanted = "write literal keyword arguments, as in optax:adam(b1=0.8, eps=1e-6)"
    try:
        call = ast.parse(f"f{brackets}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SpecError(f"{text}: malformed brackets; {wanted}") from error
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise SpecError(f"{text}: malformed brackets; {wanted}")
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise SpecError(f"{text}: an argument has no name; {wanted}")
    kwargs: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg in kwargs:
            raise SpecError(f"{text}: {keyword.arg} is given twice")
        try:
            kwargs[str(keyword.arg)] = _value(text, keyword)
        except SpecError:
            raise
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            shown = ast.get_source_segment(f"f{brackets}", keyword.value)
            raise SpecError(f"{text}: {keyword.arg}={shown} is not a literal; {wanted}") from error
    return kwargs


def _value(text: str, keyword: ast.keyword) -> Any:
    """Read a literal, or a `Range` where the value is written as a call of one of its kinds."""
    call = keyword.value
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        return ast.literal_eval(call)
    kind, given = call.func.id, [ast.literal_eval(argument) for argument in call.args]
    wanted = f"write {keyword.arg}=" + (
        "choice(a, b, ...) with numbers" if kind == "choice" else f"{kind}(low, high)"
    )
    if kind not in KINDS:
        raise SpecError(f"{text}: {kind} is not a range to search; write one of {', '.join(KINDS)}")
    if call.keywords or any(isinstance(n, bool) or not isinstance(n, int | float) for n in given):
        raise SpecError(f"{text}: {kind} takes numbers alone; {wanted}")
    numbers = [float(number) for number in given]
    if len(numbers) < 2 or (kind != "choice" and len(numbers) > 2):
        raise SpecError(f"{text}: {kind} got {len(numbers)} numbers; {wanted}")
    if kind == "choice":
        return Range(kind, min(numbers), max(numbers), tuple(numbers))
    low, high = numbers
    if not low < high or (kind == "log" and low <= 0) or (kind == "log1m" and high >= 1):
        limits = {"log": "0 < low < high", "log1m": "low < high < 1"}.get(kind, "low < high")
        raise SpecError(f"{text}: {kind}({low:g}, {high:g}) is empty; wanted {limits}")
    return Range(kind, low, high)
