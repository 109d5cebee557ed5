import sys

from gft_lite.cli import main

sys.argv.insert(1, "ui")
main()
