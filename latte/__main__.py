"""`python -m latte`: the command `latte`."""

from latte.cli import run

if __name__ == "__main__":
    run()
