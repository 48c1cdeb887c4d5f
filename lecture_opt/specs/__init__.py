"""Which optimizer a text names: `lecture:adam`, `optax:sgd(momentum=0.9)`, `my_file.py:my_opt`.

    lecture:adam                       this package's optimizers
    optax:adam, optax:contrib.muon     optax's, dotted names included
    path/to/file.py:name               any file of yours
    package.module:name                any module that imports
    own                                what a `Loop` trains with by itself, for `compare`

Keyword arguments go in brackets, `optax:adam(b1=0.8, eps=1e-6)`. They are read as Python
literals and never evaluated. The name may be a constructor (a function that returns an
`(init, update)` pair) or a ready pair. Naming a file or a module runs it; a function is called
only where it is written there, or in a module that uses optax or JAX.

In place of a number an argument may be a range to search, for `compare`:
`log(low, high)`, `log1m(low, high)` (1 - value is log-uniform, as for decays near 1),
`uniform(low, high)` or `choice(a, b, ...)`.

>>> spec = parse("optax:adam(b1=0.8)")
>>> spec.name, spec.kwargs
('optax:adam(b1=0.8)', {'b1': 0.8})
>>> optimizer = build(spec, learning_rate=0.1)
>>> parse("optax:adam(b1=log1m(0.8, 0.99))").search
{'b1': Range(kind='log1m', low=0.8, high=0.99, values=())}
"""

from lecture_opt.specs.arguments import Range
from lecture_opt.specs.constructors import as_transformation
from lecture_opt.specs.lookup import SpecError
from lecture_opt.specs.spec import (
    OptimizerSpec,
    arguments_of,
    build,
    distinct,
    find,
    is_own,
    parse,
    takes,
)

__all__ = [
    "OptimizerSpec", "Range", "SpecError", "arguments_of", "as_transformation", "build", "distinct",
    "find", "is_own", "parse", "takes",
]  # fmt: skip
