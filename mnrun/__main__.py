"""`python -m mnrun` is `mnrun`."""

from __future__ import annotations

import sys

from mnrun.cli import main

sys.exit(main())
