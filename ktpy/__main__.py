"""`python -m ktpy` is `ktpy`."""

from ktpy.cli.main import main

main()
