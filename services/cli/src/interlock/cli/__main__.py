"""`python -m interlock.cli` is `interlock`."""

from interlock.cli.main import app

if __name__ == "__main__":
    app(prog_name="interlock")
