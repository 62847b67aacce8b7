"""Entry of the shim: `python -I -S __main__.py SPEC`. Without `site` it is up in half the time."""

import os
import sys

# Last on the path: where xserve is installed this is site-packages, and nothing there may hide the library.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

from xserve.runtime.shim.supervisor import main

if __name__ == "__main__":
    main(sys.argv[1])
