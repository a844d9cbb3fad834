"""`python -m actrec`."""

from actrec.cli import main

if __name__ == "__main__":
    main()
