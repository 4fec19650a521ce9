"""`python -m stiffguide` is the command `stiffguide`."""

from stiffguide.cli import main

main()
