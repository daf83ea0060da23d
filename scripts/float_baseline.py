#!/usr/bin/env python3
"""Trains the demo's model in float32 by plain SGD: the accuracy that integer training is compared with.

Same digits, split, widths, batch size and number of passes over the data as the demo, whose 6 rounds of 4 units
of 128 steps see each of the 32 batches 96 times. One sequence of steps here, where the demo's units work side by
side, so the baseline has the easier task. Prints one JSON object.
"""
import argparse
import json

import numpy as np

from sketch import CLASSES, OPERAND_MAX, load


def main():
    numbers = lambda text: [int(x) for x in text.split(",")]
    parser = argparse.ArgumentParser(description="Train in float32.")
    parser.add_argument("digits", help="folder made by scripts/mnist.sh")
    parser.add_argument("--seed", type=int, default=1, help="of the shuffle and of the initial weights")
    parser.add_argument("--hidden", type=numbers, default=[512, 512], help="widths of the hidden layers")
    parser.add_argument("--epochs", type=int, default=96)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=0.2, help="learning rate, halved at 60 and 85 %% of the epochs")
    args = parser.parse_args()

    (x, y), (test_x, test_y) = load(args.digits, args.seed)
    x, test_x = x / np.float32(OPERAND_MAX), test_x / np.float32(OPERAND_MAX)
    rng = np.random.default_rng(args.seed)
    sizes = [x.shape[1], *args.hidden, CLASSES]
    # He's initialization: it keeps the variance of the activations through ReLU.
    w = [rng.standard_normal((i, o), np.float32) * np.float32((2 / i) ** 0.5) for i, o in zip(sizes, sizes[1:])]

    def forward(rows):
        h1 = np.maximum(rows @ w[0], 0)
        h2 = np.maximum(h1 @ w[1], 0)
        return h1, h2, h2 @ w[2]

    for epoch in range(args.epochs):
        rate = np.float32(args.rate / 2 ** sum(epoch >= share * args.epochs for share in (0.6, 0.85)))
        for at in range(0, len(x), args.batch):
            rows, labels = x[at : at + args.batch], y[at : at + args.batch]
            h1, h2, z = forward(rows)
            g = np.exp(z - z.max(axis=1, keepdims=True))
            g /= g.sum(axis=1, keepdims=True)
            g[np.arange(len(labels)), labels] -= 1
            g /= np.float32(len(labels))
            d2 = g @ w[2].T * (h2 > 0)
            d1 = d2 @ w[1].T * (h1 > 0)
            for p, a, b in zip(w, (rows, h1, h2), (d1, d2, g)):
                p -= rate * (a.T @ b)

    accuracy = float((forward(test_x)[2].argmax(axis=1) == test_y).mean())
    model = "-".join(map(str, sizes))
    print(json.dumps({"model": model, "epochs": args.epochs, "seed": args.seed, "test_accuracy": round(accuracy, 5)}))


if __name__ == "__main__":
    main()
