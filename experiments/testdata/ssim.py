"""Prints what scikit-image 0.26 says of two planes drawn by formula, for measure_test.go."""

import numpy as np
from skimage.filters import sobel
from skimage.metrics import structural_similarity

y, x = np.mgrid[0:37, 0:53].astype(float)
a = 0.5 + 0.3 * np.sin(x / 5) * np.cos(y / 7) + 0.2 * ((x // 8 + y // 6) % 2)
b = 0.9 * a + 0.05 * np.sin(x * 1.3) + 0.02 * np.cos(y * 2.1)
how = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
print("ssim", structural_similarity(a, b, **how))
print("sobel", sobel(a)[3, 7], sobel(a)[0, 0], sobel(a).mean())
print("edge", structural_similarity(sobel(a), sobel(b), **how))
