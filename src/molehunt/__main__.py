"""``python -m molehunt``."""

import sys

if __name__ == "__main__":
    # Python puts the working folder first; files of strangers lie there, and none is imported.
    if not sys.flags.safe_path:
        del sys.path[0]

    from molehunt.cli import main

    main()
