"""A multi-layer perceptron in NumPy, trained step by step on scikit-learn's digits.

A short sweep over learning rate and seed, then a long training with the best learning rate. Each
run logs loss, accuracy, learning rate and gradient norm at every step.
"""

from __future__ import annotations

import mlflow
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SWEEP_STEPS = 500
FINAL_STEPS = 2_500
BATCH_SIZE = 64
HIDDEN = 48
EVALUATE_EVERY = 50
LEARNING_RATES = (0.02, 0.1, 0.5)
SEEDS = (0, 1)


class Perceptron:
    """Two dense layers with a ReLU between them and a softmax at the end."""

    def __init__(self, sizes: tuple[int, int, int], rng: np.random.Generator) -> None:
        n_in, n_hidden, n_out = sizes
        self.weights = [
            rng.normal(0, (2 / n_in) ** 0.5, (n_in, n_hidden)),
            np.zeros(n_hidden),
            rng.normal(0, (2 / n_hidden) ** 0.5, (n_hidden, n_out)),
            np.zeros(n_out),
        ]

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the hidden activations and the class probabilities."""
        w1, b1, w2, b2 = self.weights
        hidden = np.maximum(x @ w1 + b1, 0)
        logits = hidden @ w2 + b2
        exps = np.exp(logits - logits.max(axis=1, keepdims=True))
        return hidden, exps / exps.sum(axis=1, keepdims=True)

    def gradients(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float, list[np.ndarray]]:
        """Return the batch's mean loss, its accuracy and the gradient of each weight."""
        hidden, probabilities = self.forward(x)
        rows = np.arange(len(y))
        loss = float(-np.log(probabilities[rows, y] + 1e-12).mean())
        accuracy = float((probabilities.argmax(axis=1) == y).mean())
        delta = probabilities.copy()
        delta[rows, y] -= 1
        delta /= len(y)
        back = (delta @ self.weights[2].T) * (hidden > 0)
        return loss, accuracy, [x.T @ back, back.sum(0), hidden.T @ delta, delta.sum(0)]


def learning_rate(peak: float, step: int, n_steps: int) -> float:
    """Rise over the first twentieth, then fall along half a cosine."""
    warm_up = n_steps // 20
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / (n_steps - warm_up)
    return peak * 0.5 * (1 + float(np.cos(np.pi * progress)))


def train(peak: float, seed: int, n_steps: int, data: list[np.ndarray]) -> float:
    """Train one network inside the active run and return its accuracy on held-out digits."""
    train_x, test_x, train_y, test_y = data
    rng = np.random.default_rng(seed)
    network = Perceptron((train_x.shape[1], HIDDEN, 10), rng)
    mlflow.log_params({"peak_lr": peak, "seed": seed, "steps": n_steps, "hidden": HIDDEN})
    test_accuracy = 0.0
    for step in range(n_steps):
        picked = rng.integers(0, len(train_x), BATCH_SIZE)
        loss, accuracy, gradients = network.gradients(train_x[picked], train_y[picked])
        lr = learning_rate(peak, step, n_steps)
        for weight, gradient in zip(network.weights, gradients, strict=True):
            weight -= lr * gradient
        metrics = {
            "loss": loss,
            "accuracy": accuracy,
            "lr": lr,
            "grad_norm": float(np.sqrt(sum((g**2).sum() for g in gradients))),
        }
        if step % EVALUATE_EVERY == 0 or step == n_steps - 1:
            test_accuracy = float((network.forward(test_x)[1].argmax(axis=1) == test_y).mean())
            metrics["test_accuracy"] = test_accuracy
        mlflow.log_metrics(metrics, step=step)
    return test_accuracy


def main() -> None:
    """Run the sweep, each setting a child run of one parent."""
    mlflow.set_experiment("demo-numpy")
    features, labels = load_digits(return_X_y=True)
    data = train_test_split(
        features / 16.0, labels, test_size=0.3, random_state=0, stratify=labels
    )
    accuracies: dict[float, list[float]] = {peak: [] for peak in LEARNING_RATES}
    for peak in LEARNING_RATES:
        for seed in SEEDS:
            with mlflow.start_run(run_name=f"lr-{peak}-seed-{seed}", tags={"phase": "sweep"}):
                accuracies[peak].append(train(peak, seed, SWEEP_STEPS, data))
            print(f"learning rate {peak:<5} {SWEEP_STEPS:>4} steps  {accuracies[peak][-1]:.3f}")
    best = max(LEARNING_RATES, key=lambda peak: sum(accuracies[peak]))
    with mlflow.start_run(run_name=f"final-lr-{best}", tags={"phase": "final"}):
        accuracy = train(best, SEEDS[0], FINAL_STEPS, data)
    print(f"learning rate {best:<5} {FINAL_STEPS:>4} steps  {accuracy:.3f}")


if __name__ == "__main__":
    main()
