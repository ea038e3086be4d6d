"""Metrics, masks and losses: values that others give, or that follow from what they are."""

from __future__ import annotations

import numpy as np
import pytest
import riad
from numpy.typing import NDArray


def pairs(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """AUROC as what it means: the share of pairs in which the defect scores higher, ties counting half."""
    bad, good = scores[labels][:, None], scores[~labels][None, :]
    return float(((bad > good) + 0.5 * (bad == good)).mean())


def test_auroc_is_the_share_of_pairs() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        scores = random.integers(0, 10, 60).astype(np.float32)
        labels = random.random(60) < 0.3
        assert riad.metrics.auroc(scores, labels) == pytest.approx(pairs(scores, labels))
        assert riad.metrics.auroc(scores.reshape(6, 10), labels.reshape(6, 10).astype(int)) == pytest.approx(
            pairs(scores, labels)
        )


def test_average_precision_is_precision_at_each_defect() -> None:
    random = np.random.default_rng(1)
    scores, labels = random.permutation(50).astype(np.float32), random.random(50) < 0.4
    order = labels[np.argsort(-scores)]
    precision = np.cumsum(order) / np.arange(1, 51)
    assert riad.metrics.average_precision(scores, labels) == pytest.approx(precision[order].mean())


def test_aupro_of_ones_own_mask_is_1_and_of_its_opposite_0() -> None:
    masks = np.zeros((3, 16, 16))
    masks[:, 4:8, 4:9] = 1
    assert riad.metrics.aupro(masks, masks) == pytest.approx(1)
    assert riad.metrics.aupro(list(1 - masks), list(masks)) == pytest.approx(0)
    # A map without a difference finds as large a share of the defect as of the rest.
    assert riad.metrics.aupro(np.zeros((3, 16, 16)), masks) == pytest.approx(0.15, abs=1e-6)


def test_metrics_say_what_they_cannot_measure() -> None:
    with pytest.raises(riad.RequestError, match="all 2 samples are good"):
        riad.metrics.auroc([1, 2], [0, 0])
    with pytest.raises(riad.RequestError, match="labels"):
        riad.metrics.auroc([1, 2], [0])
    with pytest.raises(riad.RequestError, match="NaN"):
        riad.metrics.auroc([1, float("nan")], [0, 1])
    with pytest.raises(riad.RequestError, match="2 maps and 1 masks"):
        riad.metrics.aupro(np.zeros((2, 4, 4)), np.zeros((1, 4, 4)))
    with pytest.raises(riad.RequestError, match="shape"):
        riad.metrics.aupro(np.zeros((2, 4)), np.zeros((2, 4)))
    with pytest.raises(riad.RequestError, match="4x4"):
        riad.metrics.aupro(np.zeros((1, 4, 4)), np.ones((1, 5, 5)))
    with pytest.raises(riad.RequestError, match="limit"):
        riad.metrics.aupro(np.zeros((1, 4, 4)), np.eye(4)[None], limit=0)


@pytest.mark.parametrize(("k", "n", "shape"), [(8, 3, (256, 256)), (2, 3, (64, 48)), (7, 4, (50, 33)), (1, 2, (3, 3))])
def test_masks_share_the_image(k: int, n: int, shape: tuple[int, int]) -> None:
    masks = riad.masks(k=k, n=n, shape=shape, seed=7)
    assert masks.dtype == np.bool_ and masks.shape == (n, *shape)
    assert (masks.sum(axis=0) == 1).all()
    for y in range(0, shape[0], k):
        for x in range(0, shape[1], k):
            cell = masks[:, y : y + k, x : x + k].reshape(n, -1)
            assert (cell.all(axis=1) | ~cell.any(axis=1)).all()
    cells = [sum(bool(mask[y, x]) for y in range(0, shape[0], k) for x in range(0, shape[1], k)) for mask in masks]
    assert max(cells) - min(cells) <= 1
    assert np.array_equal(masks, riad.masks(k, n, shape, 7))
    assert not np.array_equal(masks, riad.masks(k, n, shape, 8))


def test_masks_that_cannot_be_are_refused() -> None:
    for k, n, shape in [(0, 3, (8, 8)), (8, 0, (8, 8)), (8, 3, (8, 8)), (8, 300, (64, 64)), (8, 3, (0, 8)), (1, 3, (2**40, 2**40))]:
        with pytest.raises(riad.RequestError):
            riad.masks(k, n, shape)
    with pytest.raises((OverflowError, TypeError)):
        riad.masks(-1, 3, (8, 8))


def gms_of(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradient magnitude similarity as its paper has it, of one grey image, border repeated."""

    def magnitude(image: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.pad(image, 1, mode="edge")
        h = (p[:-2, :-2] + p[1:-1, :-2] + p[2:, :-2] - p[:-2, 2:] - p[1:-1, 2:] - p[2:, 2:]) / 3
        v = (p[:-2, :-2] + p[:-2, 1:-1] + p[:-2, 2:] - p[2:, :-2] - p[2:, 1:-1] - p[2:, 2:]) / 3
        return np.sqrt(h**2 + v**2)

    a, b, c = magnitude(a), magnitude(b), 0.0026
    return (2 * a * b + c) / (a**2 + b**2 + c)


def test_gms_is_that_of_the_paper() -> None:
    random = np.random.default_rng(2)
    a, b = random.random((48, 64)), random.random((48, 64))
    assert riad.losses.gms(a, b) == pytest.approx(1 - gms_of(a, b).mean(), abs=1e-5)
    scales = []
    halves = a, b
    for _ in range(4):
        scales.append(1 - gms_of(*halves).mean())
        halves = tuple(x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean(axis=(1, 3)) for x in halves)
    assert riad.losses.msgms(a, b) == pytest.approx(np.mean(scales), abs=1e-5)


def test_losses_compare_images_of_any_type_alike() -> None:
    random = np.random.default_rng(3)
    a, b = (random.integers(0, 256, (32, 40, 3), dtype=np.uint8) for _ in range(2))
    for loss in (riad.losses.gms, riad.losses.msgms, riad.losses.ssim):
        value = loss(a, b)
        assert 0 < value < 2
        assert loss(b, a) == pytest.approx(value, rel=1e-6)
        assert loss(a / 255, b / 255) == pytest.approx(value, rel=1e-5)
        assert loss(a.astype(np.uint16) * 257, b.astype(np.uint16) * 257) == pytest.approx(value, rel=1e-5)
        assert loss(np.stack([a, b]), np.stack([b, a])) == pytest.approx(value, rel=1e-5)
        grey = np.repeat(a[:, :, :1], 3, axis=2)
        assert abs(loss(grey, grey)) < 1e-6
        with pytest.raises(riad.RequestError, match="shape"):
            loss(a, b[:16])
        with pytest.raises(riad.RequestError, match="0, 1"):
            loss(a.astype(float), b.astype(float))
        with pytest.raises(riad.RequestError, match="int64"):
            loss(a.astype(np.int64), b.astype(np.int64))
        with pytest.raises(riad.RequestError):
            loss(np.zeros(3), np.zeros(3))
        with pytest.raises(riad.RequestError):
            loss(np.zeros((0, 4, 3)), np.zeros((0, 4, 3)))


def test_ssim_is_1_minus_that_of_scikit_image() -> None:
    # structural_similarity(a, b, channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False) of
    # scikit-image 0.26 over whole windows.
    metrics = pytest.importorskip("skimage.metrics")
    random = np.random.default_rng(4)
    a = random.random((32, 32, 3))
    b = np.clip(a + random.normal(0, 0.1, a.shape), 0, 1)
    expected = metrics.structural_similarity(
        a, b, channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert riad.losses.ssim(a, b) == pytest.approx(1 - expected, abs=1e-4)
