"""``python -m molehunt``."""

from molehunt.cli import main

if __name__ == "__main__":
    main()
