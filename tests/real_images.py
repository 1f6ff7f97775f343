"""Real images, where the reader has them; tests that read them skip elsewhere and say so."""

import os

import pytest

from ssrobust_lib.sources import REAL_DATA

REAL = os.environ.get(REAL_DATA, "")
needs_real_images = pytest.mark.skipif(not REAL, reason=f"{REAL_DATA} names no folder of real images")
