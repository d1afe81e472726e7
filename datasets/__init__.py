"""Data to explain.

>>> from pellucid import datasets
>>> train, test = datasets.load_wine().split(test=0.25, seed=0)
>>> len(train), len(test)
(134, 44)
"""

from pellucid.datasets.bundled import load_breast_cancer, load_diabetes, load_digits, load_wine
from pellucid.datasets.dataset import Dataset

__all__ = [
    "Dataset",
    "load_breast_cancer",
    "load_diabetes",
    "load_digits",
    "load_wine",
]
