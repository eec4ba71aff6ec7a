"""`python -m fireredtts2` is the command line."""

from fireredtts2.cli.main import run

if __name__ == "__main__":
    run()
