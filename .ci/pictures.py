"""Draws the guides' pictures anew, in both languages: `python .ci/pictures.py`.

Each script of the lecture runs once. Its figures are saved with its own English labels in
`examples/images`, and with the labels below in `examples/images/es`. A label that is missing here
is an error, so no picture mixes languages.
"""

import runpy
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib.figure import Figure
from matplotlib.text import Text

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = (
    "likelihood_to_loss",
    "gradient_descent",
    "backprop_by_hand",
    "learning_rate_dilemma",
    "momentum_and_nesterov",
    "sparse_features",
    "adam_dissected",
)
SAME = {"SGD", "momentum 0.5", "momentum 0.9", "Nesterov 0.9", "sgd", "adagrad", "rmsprop", "q"}
SAME |= {"S/B (N - B)/(N - 1)", "B = 16", "B = 128", "B = 1797", "b1_decay = 1", "b1_decay = 0.99"}
SAME |= {"z = w . x + b", "relu(z)", "relu, He", "uniform"}
SPANISH = {
    "likelihood p(D|q)": "verosimilitud p(D|q)",
    "binary cross-entropy (mean)": "entropía cruzada binaria (media)",
    "loss, -log q": "costo, -log q",
    "gradient by the logit, q - 1": "gradiente según el logit, q - 1",
    "logit of the true class": "logit de la clase verdadera",
    "squared error (Normal)": "error cuadrático (normal)",
    "absolute error (Laplace)": "error absoluto (Laplace)",
    "data, one outlier": "datos, uno extremo",
    "constant prediction f": "predicción constante f",
    "loss / its maximum": "costo / su máximo",
    "measured": "medida",
    "variance of the gradient": "varianza del gradiente",
    "examples in the batch, B": "ejemplos en el minibatch, B",
    "loss on all the data": "costo sobre todos los datos",
    "passes through the data": "pasadas por los datos",
    "step(z), what delta is multiplied by": "step(z), por lo que se multiplica delta",
    "norm of the activations": "norma de las activaciones",
    "norm of the delta received": "norma del delta recibido",
    "norm of the gradient": "norma del gradiente",
    "share of dead ReLUs": "proporción de ReLU muertas",
    "module, from the input": "módulo, desde la entrada",
    "sigmoid": "sigmoide",
    "relu, weights x 2": "relu, pesos x 2",
    "relu, biases -0.3": "relu, sesgos -0.3",
    "rate 0.002": "lr 0.002",
    "rate 0.020": "lr 0.020",
    "rate 0.076": "lr 0.076",
    "rate 0.085, diverges": "lr 0.085, diverge",
    "steps of SGD": "pasos de SGD",
    "flat direction": "dirección chata",
    "steep direction": "dirección empinada",
    "loss after 30 steps": "costo tras 30 pasos",
    "learning rate": "learning rate",
    "learning rate 0.076": "learning rate 0.076",
    "learning rate 0.03": "learning rate 0.03",
    "along the valley": "a lo largo del valle",
    "across the valley": "a través del valle",
    "true weight": "peso verdadero",
    "share of examples that have the feature": "proporción de ejemplos con la feature",
    "weight after 200 steps": "peso tras 200 pasos",
    "gradient 20 in place of 1": "gradiente 20 en lugar de 1",
    "step": "paso",
    "size of the step": "tamaño del paso",
    "corrected": "con corrección",
    "uncorrected": "sin corrección",
    "constant gradient": "gradiente constante",
    "step / learning rate": "paso / learning rate",
    "pure noise": "puro ruido",
}

save = Figure.savefig


def save_both(figure, path, **options):
    """In place of `Figure.savefig`: saves, then puts the labels into Spanish and saves again."""
    save(figure, path, **options)
    for text in figure.findobj(Text):
        label = text.get_text()
        if any(character.isalpha() for character in label.replace("mathdefault", "")):
            if label not in SPANISH and label not in SAME:
                raise KeyError(f"{path.name}: {label!r} has no Spanish in .ci/pictures.py")
            text.set_text(SPANISH.get(label, label))
    (path.parent / "es").mkdir(exist_ok=True)
    save(figure, path.parent / "es" / path.name, **options)


if __name__ == "__main__":
    Figure.savefig = save_both
    for name in sys.argv[1:] or SCRIPTS:
        script = str(EXAMPLES / f"{name}.py")
        sys.argv = [script, str(EXAMPLES / "images")]
        runpy.run_path(script, run_name="__main__")
