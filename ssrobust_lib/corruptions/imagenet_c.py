"""The five strengths per corruption of ImageNet-C (Hendrycks and Dietterich 2019), in the units used here.

A yardstick beside the calibrated severities, and data for tests: the study itself calibrates (paper, section 3.3).
'Resolution' is called 'pixelate' there.
"""

_STATED_SIDE = 224  # pixels

IMAGENET_C_STRENGTHS: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": tuple(photons**-0.5 for photons in (60, 25, 12, 5, 3)),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "contrast": tuple(1 - kept for kept in (0.4, 0.3, 0.2, 0.1, 0.05)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "gaussian_blur": tuple(sigma / _STATED_SIDE for sigma in (1, 2, 3, 4, 6)),
    "resolution": tuple(1 - kept for kept in (0.6, 0.5, 0.4, 0.3, 0.25)),
}
