"""Small real datasets that ship with scikit-learn: nothing is downloaded."""

from __future__ import annotations

import numpy as np

from pellucid.datasets.dataset import Dataset

_CC_BY = "CC BY 4.0, as the UCI Machine Learning Repository states"


def load_digits() -> Dataset:
    """Load 1,797 handwritten digits: images of 8 x 8 pixels, ten classes.

    Returns
    -------
    Dataset
        Inputs of shape (1797, 1, 8, 8), from 0 (paper) to 1 (ink).
    """
    from sklearn.datasets import load_digits as load

    data = load()
    return Dataset(
        name="digits",
        inputs=(data.images[:, None] / 16).astype(np.float32),
        targets=data.target,
        task="classification",
        class_names=tuple(map(str, data.target_names)),
        description=(
            "Digits written by 13 people, scanned; each pixel counts the dark points in a block "
            "of 4 x 4."
        ),
        source=(
            "E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits (its "
            "test set), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, as "
            "shipped with scikit-learn"
        ),
        license=_CC_BY,
        preprocessing="pixel counts of 0 to 16 divided by 16, so 0 to 1",
    )


def load_breast_cancer() -> Dataset:
    """Load 569 breast masses: 30 measures of their cell nuclei, malignant or benign.

    Returns
    -------
    Dataset
        Inputs of shape (569, 30); class 0 is malignant, class 1 benign.
    """
    from sklearn.datasets import load_breast_cancer as load

    data = load()
    return Dataset(
        name="breast_cancer",
        inputs=data.data,
        targets=data.target,
        task="classification",
        feature_names=tuple(map(str, data.feature_names)),
        class_names=tuple(map(str, data.target_names)),
        description=(
            "Ten measures of the cell nuclei in an image of a fine needle aspirate; of each its "
            "mean, its standard error, and the mean of its three largest values ('worst')."
        ),
        source=(
            "W. H. Wolberg, W. N. Street and O. L. Mangasarian (1995), Breast Cancer Wisconsin "
            "(Diagnostic), UCI Machine Learning Repository, https://doi.org/10.24432/C5DW2B, as "
            "shipped with scikit-learn"
        ),
        license=_CC_BY,
    )


def load_wine() -> Dataset:
    """Load 178 wines of one region: 13 chemical measures, three cultivars.

    Returns
    -------
    Dataset
        Inputs of shape (178, 13); the classes are the cultivars, which have no published names.
    """
    from sklearn.datasets import load_wine as load

    data = load()
    return Dataset(
        name="wine",
        inputs=data.data,
        targets=data.target,
        task="classification",
        feature_names=tuple(map(str, data.feature_names)),
        class_names=tuple(map(str, data.target_names)),
        description="Chemical analysis of wines from one region of Italy, of three cultivars.",
        source=(
            "S. Aeberhard and M. Forina (1992), Wine, UCI Machine Learning Repository, "
            "https://doi.org/10.24432/C5PC7J, as shipped with scikit-learn"
        ),
        license=_CC_BY,
    )


def load_diabetes() -> Dataset:
    """Load 442 people with diabetes: ten measures, and how the disease progressed in a year.

    Returns
    -------
    Dataset
        Inputs of shape (442, 10) as they were measured, not scaled.
    """
    from sklearn.datasets import load_diabetes as load

    data = load(scaled=False)
    return Dataset(
        name="diabetes",
        inputs=data.data,
        targets=data.target,
        task="regression",
        feature_names=(
            "age",
            "sex",
            "body mass index",
            "blood pressure",
            "s1: total cholesterol",
            "s2: LDL",
            "s3: HDL",
            "s4: total cholesterol / HDL",
            "s5: ltg",
            "s6: blood sugar",
        ),
        description=(
            "Age in years, sex (coded 1 and 2), body mass index, average blood pressure and six "
            "measures of the blood serum; ltg is possibly the logarithm of the triglycerides. "
            "The target measures how far the disease had progressed one year later."
        ),
        source=(
            "B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004), Least Angle Regression, "
            "Annals of Statistics 32(2), https://doi.org/10.1214/009053604000000067, as shipped "
            "with scikit-learn"
        ),
        license="none stated by its authors; scikit-learn, which ships it, is BSD-3-Clause",
    )
