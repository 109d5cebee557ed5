"""`python -m gft_lite` is the command line."""

from gft_lite.cli import main

main()
