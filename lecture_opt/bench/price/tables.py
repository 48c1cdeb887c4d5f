"""Prices as tables and sentences for the terminal. Every time in them is predicted."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.table import Table

from lecture_opt.bench.price import accuracy
from lecture_opt.bench.price.devices import Device
from lecture_opt.bench.price.fits import Fit
from lecture_opt.bench.price.types import ARRAY, LAUNCH, Price, Priced
from lecture_opt.bench.tables import duration, headed, size

COLUMNS = (
    "kernels",
    "read",
    "written",
    "x least",
    "temporaries",
    "state",
    "peak",
    "sent",
    "predicted in a compiled loop",
    "predicted from Python",
)


def prices(priced: Priced) -> Table:
    """One row for each optimizer, in the order in which they were given."""
    where = priced.device if priced.devices == 1 else f"each of {priced.devices} {priced.device}"
    shown = [i for i, name in enumerate(COLUMNS) if name != "sent" or priced.devices > 1]
    title = f"{priced.what}: {priced.text}; predicted for {where}"
    table = headed(title, (COLUMNS[i] for i in shown))
    for price in priced.prices:
        row = texts(price)
        table.add_row(price.name, *(row[i] for i in shown))
    table.caption = (
        "x least: bytes read and written over those that a step must read and write. Predicted: "
        "bytes over the published bandwidth (or products over the published rate), "
        f"{duration(LAUNCH)} for a launch and, from Python, {duration(ARRAY)} for an array that "
        f"goes in or out. {accuracy.sentence()}"
    )
    return table


def texts(price: Price) -> list[str]:
    """The texts of one row, in the order of `COLUMNS`; "-" for what does not apply."""
    moved = price.read + price.written
    return [
        f"{price.launches:,}",
        size(price.read),
        size(price.written),
        "-" if price.moved is None else f"{moved / price.moved:.2f}",
        size(price.temporaries),
        size(price.state),
        size(price.peak),
        size(price.sent),
        duration(price.seconds.device),
        duration(price.seconds.total),
    ]


def sentences(priced: Priced) -> Iterator[str]:
    """What makes each step slow, the largest groups of its kernels, and what shares a kernel."""
    for price in priced.prices:
        yield f"{priced.what}: {price.name}: {slow(price)}"
        yield f"  kernels: {groups(price)}"
        for kernel, leaves in list(price.shared.items())[:3]:
            yield f"  one kernel ({kernel}) serves {len(leaves)} leaves: {', '.join(leaves[:4])}"


def fitting(fits: Sequence[Fit], device: Device, what: str, unit: str) -> Table:
    """The largest model or batch for each optimizer; `unit` is what its size counts."""
    title = f"{what}: the largest that fits into {device.text}, {size(device.memory)}"
    columns = (unit, "parameters", "state", "temporaries", "peak", "predicted step")
    table = headed(title, columns)
    for fit in fits:
        price = fit.price
        needs = (price.state, price.temporaries, price.peak) if price else (None, None, None)
        step = duration(price.seconds.device if price else None)
        table.add_row(fit.name, f"{fit.size:,}", f"{fit.parameters:,}", *map(size, needs), step)
    return table


def slow(price: Price) -> str:
    """What a step waits for, in words."""
    seconds, moved = price.seconds, price.read + price.written
    launches = f"{price.launches:,} launches for {size(moved)}"
    over = "" if price.moved is None else _over(moved, price.moved)
    sent, links = "", ""
    if price.collectives:
        kinds = Counter(one.kind for one in price.collectives for _ in range(one.times))
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        sent = f"; {listed} of {size(price.sent)} in all"
        links = f", {duration(seconds.links)} of exchange"
    return (
        f"{launches}{over}{sent}. Predicted: {duration(seconds.launches)} of launches for "
        f"{duration(seconds.bytes)} of bytes{links}; from Python {duration(seconds.host)} more, in "
        f"which the host hands over {price.arrays:,} arrays."
    )


def _over(moved: int, least: int) -> str:
    return f", {moved / least:.2f} times what it must move" if moved > 1.05 * least else ""


def groups(price: Price, most: int = 3) -> str:
    """Kernels alike by their bytes, those that move most first."""
    alike: Counter[tuple[int, int]] = Counter()
    for kernel in price.kernels:
        alike[kernel.read, kernel.written] += kernel.times
    listed = sorted(alike.items(), key=lambda item: -item[1] * sum(item[0]))
    texts = [f"{n:,} of {size(read)} + {size(written)}" for (read, written), n in listed[:most]]
    rest = sum(n for _, n in listed[most:])
    return "; ".join(texts + ([f"{rest:,} smaller"] if rest else []))
