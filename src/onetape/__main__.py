"""`python -m onetape`: the command line where its script is not on the path."""

from onetape.control.cli import main

if __name__ == "__main__":
    main()
