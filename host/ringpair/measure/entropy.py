"""How much the rings know of one another: a Gaussian model of all rings together, with shrinkage.

Bits are functions of deviations, so what the bits of n rings tell of one another is at most what the deviations tell
(data processing inequality): for Gaussian deviations with correlation matrix R, -1/2 log2 det R bits. R has more
entries than there are chips, so the sample correlation is drawn towards what neighbors at the same distance have in
common, with the weight that minimizes the expected square error (Schafer and Strimmer, Stat. Appl. Genet. Mol. Biol.
4:32, 2005, with their target replaced by the mean of each class of distance).

Rings are taken in blocks of 192, a device's worth. A ring's deviation from its row makes 15 free dimensions of 16
rings: the determinant is that of the contrasts within the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol import puf
from scipy import linalg, stats  # type: ignore[import-untyped]

from .resample import LEVEL
from .survey import row_length

__all__ = ["BLOCK", "JointSums", "Model", "joint_model"]

BLOCK = puf.RINGS
GROUPS = 8
"""Of chips, for the jackknife."""
CLASS_PAIRS = 24
"""A class of distance with fewer pairs of rings is put into that of the far ones."""
FLOOR = 1e-3
FloatArray = NDArray[np.float64]


@dataclass
class JointSums:
    """Sums over chips of products of standardized deviations, for each group of chips and block of rings.

    Attributes
    ----------
    chips : groups
    products, squares : groups x blocks x 192 x 192
        Of z_i z_j, and of its square.
    """

    chips: FloatArray
    products: FloatArray
    squares: FloatArray

    @classmethod
    def empty(cls, rings: int) -> JointSums:
        size = min(rings, BLOCK)
        shape = (GROUPS, rings // size, size, size)
        return cls(np.zeros(GROUPS), np.zeros(shape), np.zeros(shape))

    def __add__(self, other: JointSums) -> JointSums:
        return JointSums(self.chips + other.chips, self.products + other.products, self.squares + other.squares)

    def add(self, standard: FloatArray, first: int) -> None:
        """Take some chips in, chips x rings; rings beyond the last full block are left out."""
        blocks, size = self.products.shape[1:3]
        group = (first + np.arange(len(standard))) % GROUPS
        for number in np.unique(group):
            own = standard[group == number][:, : blocks * size].reshape(-1, blocks, size).transpose(1, 2, 0)
            self.products[number] += own @ own.transpose(0, 2, 1)
            self.squares[number] += own**2 @ (own**2).transpose(0, 2, 1)
            self.chips[number] += own.shape[2]


@dataclass(frozen=True)
class Model:
    """What `joint_model` finds.

    Attributes
    ----------
    lost : float
        Bits that the rings of one block tell of one another; mean over the blocks.
    stationary : float
        The same by the target alone: correlation depends on distance only, no noise of single pairs of rings.
    lost_ci : list of two floats, or None
        Jackknife over groups of chips.
    shrinkage : float
        Weight of the target; mean over the blocks.
    rings : int
        Of a block.
    spectrum : list of float
        Eigenvalues of the first block's model, falling; sample_spectrum those without shrinkage.
    """

    lost: float
    stationary: float
    lost_ci: list[float] | None
    shrinkage: float
    rings: int
    spectrum: list[float]
    sample_spectrum: list[float]


def joint_model(sums: JointSums, where: NDArray[np.int64]) -> Model | None:
    """Entropy lost to correlation, with its interval; None below three chips, or if a ring is the same on all.

    Parameters
    ----------
    sums : JointSums
    where : int array, rings x 3
        Layer, y, x of each ring.
    """
    chips = sums.chips.sum()
    if chips < 3 or (np.diagonal(sums.products.sum(0), axis1=1, axis2=2) <= 0).any():
        return None
    size = sums.products.shape[2]
    contrast, products, squares = _contrasts(size), sums.products.sum(0), sums.squares.sum(0)
    classes = [_classes(where[block * size : (block + 1) * size]) for block in range(len(products))]
    parts = [_shrunk(chips, *block) for block in zip(products, squares, classes, strict=True)]
    values = [_eigenvalues(contrast, weight * target + (1 - weight) * sample) for weight, target, sample in parts]
    lost = _lost(values)
    interval = None
    if (sums.chips > 0).all() and chips - sums.chips.max() >= 3:
        left = np.empty(GROUPS)
        for group, (own, product, square) in enumerate(zip(sums.chips, sums.products, sums.squares, strict=True)):
            rest = zip(products - product, squares - square, classes, strict=True)
            shrunk = [_shrunk(chips - own, *block) for block in rest]
            left[group] = _lost([_eigenvalues(contrast, w * target + (1 - w) * sample) for w, target, sample in shrunk])
        reach = float(stats.t.ppf((1 + LEVEL) / 2, GROUPS - 1) * np.sqrt((GROUPS - 1) * left.var()))
        interval = [max(lost - reach, 0.0), lost + reach]
    return Model(
        lost,
        _lost([_eigenvalues(contrast, target) for _, target, _ in parts]),
        interval,
        float(np.mean([weight for weight, _, _ in parts])),
        size,
        values[0][::-1].tolist(),
        _eigenvalues(contrast, parts[0][2])[::-1].tolist(),
    )


def _lost(eigenvalues: list[FloatArray]) -> float:
    """-1/2 log2 of the determinants, mean over the blocks."""
    return float(np.mean([-0.5 * np.log2(values).sum() for values in eigenvalues]))


def _shrunk(
    chips: float, product: FloatArray, square: FloatArray, classes: NDArray[np.int64]
) -> tuple[float, FloatArray, FloatArray]:
    """Weight of the target, target, and sample correlation of one block."""
    scale = np.outer(np.sqrt(np.diag(product)), np.sqrt(np.diag(product)))
    sample = product / scale
    mean_square = square / chips * (chips / scale) ** 2  # of z_i z_j, with the variances that the sample has
    return *_shrinkage(sample, mean_square, classes, chips), sample


def _shrinkage(
    sample: FloatArray, mean_square: FloatArray, classes: NDArray[np.int64], chips: float
) -> tuple[float, FloatArray]:
    """Weight of the target, and the target."""
    off = ~np.eye(len(sample), dtype=bool)
    number = np.bincount(classes[off])
    target = np.eye(len(sample))
    target[off] = (np.bincount(classes[off], sample[off]) / np.maximum(number, 1))[classes[off]]
    variance = np.maximum(mean_square - sample**2, 0)[off].sum() * chips / (chips - 1) ** 2
    distance = ((sample - target)[off] ** 2).sum()
    return float(np.clip(variance / distance, 0, 1)) if distance > 0 else 1.0, target


def _classes(where: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class of each pair of rings: by distance in y and x, layer and row; rare ones together."""
    layer, y, x = where.T
    length = row_length(len(where))
    row = np.arange(len(where)) // length
    same_row = row[:, None] == row
    keys = np.abs(y[:, None] - y) * 1000 + np.abs(x[:, None] - x)
    keys = 4 * keys + 2 * (layer[:, None] != layer) + same_row
    _, classes, number = np.unique(keys, return_inverse=True, return_counts=True)
    classes = classes.reshape(keys.shape)
    rare = (number < CLASS_PAIRS)[classes]
    return np.where(rare, np.where(same_row, number.size, number.size + 1), classes)


def _contrasts(rings: int) -> FloatArray:
    """Orthonormal contrasts within the rows: 15 for each row of 16."""
    length = row_length(rings)
    if length == 1:
        return np.eye(rings)
    contrasts: FloatArray = linalg.block_diag(*[linalg.helmert(length)] * (rings // length))
    return contrasts


def _eigenvalues(contrast: FloatArray, correlation: FloatArray) -> FloatArray:
    """Of the correlation matrix of the contrasts, rising; at least FLOOR, as sums of few chips have zeros."""
    covariance = contrast @ correlation @ contrast.T
    scale = np.sqrt(np.diag(covariance))
    return np.asarray(np.maximum(linalg.eigvalsh(covariance / np.outer(scale, scale)), FLOOR))
