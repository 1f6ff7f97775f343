"""`python -m ssrobust_lib` is `ssrobust`."""

import sys

from ssrobust_lib.cli import main

sys.exit(main())
