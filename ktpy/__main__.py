"""The program's start: `ktpy`, and `python -m ktpy`."""

import sys


def main() -> None:
    """The console script. Ctrl-C while the program still loads ends it like any other, without a traceback."""
    try:
        from ktpy.cli.main import run
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
