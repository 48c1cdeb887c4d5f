"use strict";
// The race in JavaScript: the same surfaces, update rules and ending as the Python ones, which the
// tests compare it with. Nothing here touches the page.

const FAR = 1e3; // a path further out than this along x or y has diverged

// Every surface: value(x, y), and its gradient [d/dx, d/dy].
const SURFACES = {
  saddle: {
    value: (x, y) => x ** 2 / 2 - y ** 2 / 2 + y ** 4 / 4,
    gradient: (x, y) => [x, y ** 3 - y],
  },
  beale: {
    value: (x, y) =>
      (1.5 - x + x * y) ** 2 + (2.25 - x + x * y ** 2) ** 2 + (2.625 - x + x * y ** 3) ** 2,
    gradient: (x, y) => {
      const [a, b, c] = [1.5 - x + x * y, 2.25 - x + x * y ** 2, 2.625 - x + x * y ** 3];
      return [
        2 * (a * (y - 1) + b * (y ** 2 - 1) + c * (y ** 3 - 1)),
        2 * (a * x + b * 2 * x * y + c * 3 * x * y ** 2),
      ];
    },
  },
  rosenbrock: {
    value: (x, y) => (1 - x) ** 2 + 100 * (y - x ** 2) ** 2,
    gradient: (x, y) => [-2 * (1 - x) - 400 * x * (y - x ** 2), 200 * (y - x ** 2)],
  },
  himmelblau: {
    value: (x, y) => (x ** 2 + y - 11) ** 2 + (x + y ** 2 - 7) ** 2,
    gradient: (x, y) => {
      const [a, b] = [x ** 2 + y - 11, x + y ** 2 - 7];
      return [4 * x * a + 2 * b, 2 * a + 4 * y * b];
    },
  },
  valley: {
    value: (x, y) => 0.05 * x ** 2 + 5 * y ** 2,
    gradient: (x, y) => [0.1 * x, 10 * y],
  },
  "noisy-bowl": {
    value: (x, y) => (x ** 2 + y ** 2) / 2,
    gradient: (x, y) => [x, y],
  },
};

// Every rule makes, from its hyperparameters, a function from the gradient of one number to the
// step of that number; what it remembers of that number is inside. `t` counts from 1.
const RULES = {
  sgd:
    ({ learning_rate }) =>
    (g) => -learning_rate * g,

  momentum: ({ learning_rate, momentum }) => {
    let v = 0;
    return (g) => (v = momentum * v - learning_rate * g);
  },

  nesterov: ({ learning_rate, momentum }) => {
    let v = 0;
    return (g) => {
      v = momentum * v - learning_rate * g;
      return momentum * v - learning_rate * g;
    };
  },

  adagrad: ({ learning_rate, eps }) => {
    let acc = 0;
    return (g) => {
      acc += g ** 2;
      return (-learning_rate / nonzero(Math.sqrt(acc + eps))) * g;
    };
  },

  rmsprop: ({ learning_rate, decay, eps }) => {
    let acc = 0;
    return (g) => {
      acc = decay * acc + (1 - decay) * g ** 2;
      return (-learning_rate / nonzero(Math.sqrt(acc + eps))) * g;
    };
  },

  adam: ({ learning_rate, b1, b2, eps, b1_decay }) => {
    let [m, v] = [0, 0];
    return (g, t) => {
      const b1_t = b1 * b1_decay ** (t - 1);
      m = b1_t * m + (1 - b1_t) * g;
      v = b2 * v + (1 - b2) * g ** 2;
      const [m_c, v_c] = [m / (1 - b1 ** t), v / (1 - b2 ** t)];
      return (-learning_rate * m_c) / nonzero(Math.sqrt(v_c) + eps);
    };
  },
};

function nonzero(denominator) {
  return denominator === 0 ? 1 : denominator;
}

// Walks from `start` for noise.length steps. `noise` holds a pair for each step, `deviation` is
// what it is multiplied with. Returns {points: [[x, y], ...], diverged: step or null}: the points
// end where the path diverged.
function trajectory(surface, rule, hyperparameters, start, noise, deviation) {
  const { gradient } = SURFACES[surface];
  const [stepX, stepY] = [RULES[rule](hyperparameters), RULES[rule](hyperparameters)];
  const points = [start];
  let [x, y] = start;
  for (let t = 1; t <= noise.length; t++) {
    const [gx, gy] = gradient(x, y);
    x += stepX(gx + deviation * noise[t - 1][0], t);
    y += stepY(gy + deviation * noise[t - 1][1], t);
    if (!(Math.max(Math.abs(x), Math.abs(y)) <= FAR)) return { points, diverged: t };
    points.push([x, y]);
  }
  return { points, diverged: null };
}
