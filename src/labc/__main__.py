"""``python -m labc`` is ``labc``."""

from labc.cli import main

if __name__ == "__main__":
    main()
