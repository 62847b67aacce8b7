import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "_kit"))

from serve import run
from xserve_engine.launch import main

if __name__ == "__main__":
    main(run)
