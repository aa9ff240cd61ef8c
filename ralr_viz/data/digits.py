"""scikit-learn's handwritten digits as an RGB dataset: small, offline, and built at first use.

1,797 scans of 8×8 pixels with values 0–16 (UCI Optical Recognition of Handwritten Digits, test part).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from ralr_viz.data.ingest import Intake

_SIZE = 32
_TEST_EVERY = 4


def read_digits() -> Intake:
    """Upsample the scans to 32×32 (bicubic), grey to RGB; a stratified quarter is the test split.

    Within each class, ordered by the SHA-256 of the scan, every fourth scan is a test scan: the split needs
    no random generator, so it is the same with every version of every library.
    """
    from sklearn.datasets import load_digits  # heavy

    scans, labels = load_digits(return_X_y=True)
    scans = scans.astype(np.uint8).reshape(-1, 8, 8)
    labels = labels.astype(np.int64)
    return Intake(
        class_ids=tuple("0123456789"),
        class_names=tuple("0123456789"),
        is_test=choose_test(scans, labels),
        labels=labels,
        boxes=None,
        images=_upsample(scans),
        source={"file": "sklearn.datasets.load_digits", "layout": "8×8 scans", "test": "every 4th by hash"},
    )


def choose_test(scans: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which of ``(n, 8, 8)`` scans are test scans, ``(n,)`` bool."""
    digests = [hashlib.sha256(scan.tobytes()).digest() for scan in scans]
    is_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label), key=digests.__getitem__)
        is_test[members[_TEST_EVERY - 1 :: _TEST_EVERY]] = True
    return is_test


def _upsample(scans: np.ndarray) -> Iterator[np.ndarray]:
    grey = np.rint(scans * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(scan).resize((_SIZE, _SIZE), Image.Resampling.BICUBIC) for scan in grey]
    yield np.stack([np.asarray(image.convert("RGB")) for image in large])
