"""``python -m ringpair.cli``."""

import sys

from . import main

sys.exit(main())
