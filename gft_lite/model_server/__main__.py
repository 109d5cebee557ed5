"""`python -m gft_lite.model_server`."""

import os
import sys

from gft_lite.model_server.loop import Loop

answers = os.fdopen(os.dup(1), "w", encoding="ascii")
os.dup2(2, 1)  # what libraries print is not an answer
Loop(answers).run(sys.stdin.buffer)
