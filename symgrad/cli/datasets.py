"""The data sets of ``symgrad train``: moons, spiral, digits, and tables from CSV files; split and scaled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symgrad.cli.tables import Table, numeric_columns, read_csv
from symgrad.errors import MissingDependencyError

__all__ = ["Dataset", "load", "split"]

Array = np.ndarray[Any, Any]


@dataclass
class Dataset:
    """Training and test data, standardised. ``task``: "binary" (targets 0, 1), "classes" or "regression".

    ``centre``, ``scale``: what was taken from and divided out of each input column (``target_centre``, ``target_scale``
    of a regression's target). ``classes``: their names. ``features``: the names of the input columns.
    """

    name: str
    task: str
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    features: list[str]
    classes: list[str] = field(default_factory=list)
    target: str = "target"
    centre: Array = field(default_factory=lambda: np.zeros(1))
    scale: Array = field(default_factory=lambda: np.ones(1))
    target_centre: float = 0.0
    target_scale: float = 1.0
    image_shape: tuple[int, int] | None = None

    def raw(self, x: Array) -> Array:
        """Inputs in their own units."""
        return x * self.scale + self.centre


def _sklearn() -> Any:
    try:
        import sklearn.datasets
    except ImportError:
        raise MissingDependencyError("moons and digits come with scikit-learn: pip install 'symgrad[sklearn]'") from None
    return sklearn.datasets


def split(labels: Array | None, samples: int, share: float, seed: int) -> tuple[Array, Array]:
    """Row numbers for training and for test: a random ``share`` of the rows, of each class where ``labels`` are given.

    Every class keeps at least one row for training; of a class with two rows or more at least one is for test.
    """
    rng = np.random.default_rng(seed)
    groups = [np.arange(samples)] if labels is None else [np.flatnonzero(labels == k) for k in np.unique(labels)]
    train: list[Array] = []
    test: list[Array] = []
    for rows in groups:
        mixed = rng.permutation(rows)
        held_out = min(max(round(share * len(rows)), 1), len(rows) - 1) if share > 0 else 0
        test.append(mixed[:held_out])
        train.append(mixed[held_out:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def _standardise(data: Dataset, whole: bool = False) -> Dataset:
    """Inputs to mean 0 and deviation 1 as measured on the training rows (``whole``: one scale for all columns);
    a constant column becomes 0."""
    x = data.train[0]
    centre, scale = (np.full(x.shape[1], x.mean()), np.full(x.shape[1], x.std())) if whole else (x.mean(axis=0), x.std(axis=0))
    constant = scale <= 1e-12 * np.maximum(np.abs(centre), 1e-300)
    data.centre, data.scale = centre, np.where(constant, 1.0, scale)
    data.train = ((x - data.centre) / data.scale, data.train[1])
    data.test = ((data.test[0] - data.centre) / data.scale, data.test[1])
    return data


def moons(seed: int) -> Dataset:
    """Two interleaved half circles, 100 samples with noise 0.1 to learn from and 1,000 new ones to test on."""
    make = _sklearn().make_moons
    train, test = make(100, noise=0.1, random_state=seed), make(1000, noise=0.1, random_state=seed + 1)
    return Dataset("moons", "binary", train, test, ["x1", "x2"], ["outer moon", "inner moon"],
                   centre=np.zeros(2), scale=np.ones(2))


def _spiral_arms(samples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    label = np.arange(samples) % 3
    radius = np.sqrt(rng.uniform(0.01, 1.0, samples))
    angle = 2 * np.pi * (radius + label / 3) + rng.normal(0.0, 0.12, samples)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), label


def spiral(seed: int) -> Dataset:
    """Three spiral arms, one turn each: 300 samples to learn from, 900 to test on."""
    rng = np.random.default_rng(seed)
    train = _spiral_arms(300, rng)
    return _standardise(Dataset("spiral", "classes", train, _spiral_arms(900, rng), ["x1", "x2"], ["arm 1", "arm 2", "arm 3"]))


def digits(seed: int) -> Dataset:
    """1,797 handwritten digits of 8×8 pixels (UCI, in scikit-learn), 80 % to learn from and 20 % to test on."""
    bunch = _sklearn().load_digits()
    train, test = split(bunch.target, len(bunch.target), 0.2, seed)
    data = Dataset("digits", "classes", (bunch.data[train], bunch.target[train]), (bunch.data[test], bunch.target[test]),
                   [f"p{i}{j}" for i in range(8) for j in range(8)], [str(k) for k in range(10)], image_shape=(8, 8))
    return _standardise(data, whole=True)


def _names_and_targets(table: Table, target: str, task: str) -> tuple[str, Array, list[str]]:
    """The task, the targets as numbers, and the names of classes."""
    texts = table.column(target)
    values: Array | None
    try:
        values = np.array([float(t) for t in texts])
    except ValueError:
        values = None
    distinct = sorted(set(texts)) if values is None else sorted(set(values.tolist()))
    if task == "auto":
        # Whole numbers of few values are classes; everything else that reads as numbers is a quantity.
        whole = values is not None and bool(np.all(np.isfinite(values)) and np.all(values == np.floor(values)))
        task = "classification" if values is None or (whole and len(distinct) <= min(20, max(2, len(texts) // 5))) else "regression"
    if task == "regression":
        return "regression", numeric_columns(table, [target])[:, 0], []
    if len(distinct) < 2:
        raise ValueError(f"{table.path}: column {target!r} has one class only ({distinct[0]!r}): nothing to tell apart")
    order = {value: k for k, value in enumerate(distinct)}
    labels = np.array([order[v] for v in (texts if values is None else values.tolist())])
    names = [str(v) for v in distinct] if values is None else [f"{v:g}" for v in distinct]
    return ("binary" if len(distinct) == 2 else "classes"), labels, names


def table(path: str, target: str | None, task: str, seed: int) -> Dataset:
    """A CSV file: numeric columns are inputs, ``target`` (by default the last column) is what to predict; 20 % for test."""
    content = read_csv(path)
    name = content.resolve(target)
    if len(content.rows) < 2:
        raise ValueError(f"{path}: {len(content.rows)} row of data; at least 2 are needed, one to learn from and one to test on")
    kind, targets, classes = _names_and_targets(content, name, task)
    features = [c for c in content.header if c != name]
    if not features:
        raise ValueError(f"{path}: no input columns besides {name!r}")
    x = numeric_columns(content, features)
    train, test = split(targets if classes else None, len(x), 0.2, seed)
    data = Dataset(path, kind, (x[train], targets[train]), (x[test], targets[test]), features, classes, name)
    if kind == "regression":
        y = targets[train]
        data.target_centre, data.target_scale = float(y.mean()), float(y.std()) or 1.0
        data.train, data.test = ((x[rows], (targets[rows] - data.target_centre) / data.target_scale) for rows in (train, test))
    return _standardise(data)


def load(name: str, *, target: str | None, task: str, seed: int) -> Dataset:
    """A data set by its name, or from a CSV file."""
    made = {"moons": moons, "spiral": spiral, "digits": digits}
    if name in made:
        if target is not None:
            raise ValueError(f"--target is for CSV files; {name} knows its own")
        return made[name](seed)
    return table(name, target, task, seed)
