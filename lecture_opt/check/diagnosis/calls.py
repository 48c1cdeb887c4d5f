"""A rule as the call that makes it."""

from lecture_opt.check.diagnosis.rules import Rule, free

NAMES = {  # what a constructor calls a hyperparameter that others call b1 or b2
    ("optax.sgd", "b1"): "momentum",
    ("optax.signum", "b1"): "beta",
    ("optax.rmsprop", "b2"): "decay",
    ("optax.adadelta", "b2"): "rho",
    ("torch.optim.SGD", "b1"): "momentum",
    ("torch.optim.SGD", "learning_rate"): "lr",
}


def call(rule: Rule) -> str:
    """The rule as the call that makes it."""
    at, name = rule.numbers, rule.name
    given = {
        NAMES.get((name, key), key): getattr(at, key)
        for key in free(rule)
        if key in ("learning_rate", "b1", "b2")
    }
    if name == "optax.adagrad":
        given["initial_accumulator_value"] = at.initial
    inside = name in ("optax.rmsprop", "optax.adagrad", "optax.adadelta")
    if rule.second != "one":
        given["eps"] = at.eps_root if inside and not at.eps else at.eps
        if at.eps_root and not inside:
            given["eps_root"] = at.eps_root
    if at.dampening:
        given["dampening"] = at.dampening
    if at.b1_decay != 1:
        given["b1_decay"] = at.b1_decay
    if name == "optax.rmsprop":
        given |= {"momentum": at.outer} if at.outer else {}
        given |= {"eps_in_sqrt": False} if at.eps else {}
        given |= {"centered": True} if rule.second == "centered" else {}
        given |= {"bias_correction": True} if rule.correct_second.times else {}
    if rule.along == "nesterov" and name == "optax.sgd":
        given["nesterov"] = True
    arguments = (
        f"{key}={value}" if isinstance(value, bool) else f"{key}={value:.9g}"
        for key, value in given.items()
    )
    return f"{name}({', '.join(arguments)})"
