"""`python -m lecture_opt`: the command `lecture-opt`."""

import sys

from lecture_opt.cli import main

if __name__ == "__main__":
    sys.exit(main())
