"""`python -m xserve` and the command `xserve`."""

from __future__ import annotations

import sys

from xserve.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
