"""A Flax model and its TrainState, trained with the lecture's Adam."""

import jax
from flax import linen as nn
from flax.training.train_state import TrainState
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
x = (x / 16).astype("float32")

model = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(10)])
state = TrainState.create(
    apply_fn=model.apply,
    params=model.init(jax.random.key(0), x[:1])["params"],
    tx=lo.adam(learning_rate=0.01),
)


@jax.jit
def step(state):
    def loss_fn(params):
        return lo.softmax_cross_entropy(state.apply_fn({"params": params}, x), labels)

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


for _ in range(100):
    state, loss = step(state)
print(f"loss after 100 steps: {loss:.4f}")
