"""Files of a user's own, written for tests: a table, a folder of pictures, arrays."""
import csv

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")


def write_csv(path, rows, separator=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def flowers(count=60, seed=0):
    """A header and rows: two numbers, a category, a class that the first number decides."""
    rng = np.random.default_rng(seed)
    rows = [["width", "height", "colour", "kind"]]
    for _ in range(count):
        width = rng.integers(-400, 800) / 100
        colour = rng.choice(["red", "blue", "white"])
        rows.append([f"{width:.2f}", int(rng.integers(0, 1000)), colour, "big" if width > 2 else "small"])
    return rows


def pictures(folder, count=8, shape=(6, 5), classes=("cat", "dog")):
    """Grey pictures in a folder for each class, the second class bright at the left."""
    rng = np.random.default_rng(1)
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            pixels = rng.integers(0, 120, shape, dtype=np.uint8)
            pixels[:, :2] += np.uint8(100 * k)
            Image.fromarray(pixels).save(folder / name / f"{n}.png")
    return folder


def arrays(**changes):
    """Images (20, 4, 3) and two classes, as a file of arrays holds them; ``changes`` to them."""
    rng = np.random.default_rng(2)
    return {"images": rng.integers(0, 256, (20, 4, 3), dtype=np.uint8), "labels": np.arange(20) % 2} | changes
