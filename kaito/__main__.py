"""`python -m kaito`: the same program as the console script."""

from kaito.cli import main

main()
