"""The course's rooms, in reading order: data → models → training → evaluation → analysis → deploy.

`plots` draws, `course` holds exercises, defaults and expected bands, `assets` knows where models and data come from, and
`cli` is the command line. Beneath them lie `device`, `runs`, `files` and `exceptions`. Start at `training/loop.py`.
"""

import logging
import warnings

__version__ = "0.1.0"

# The libraries' own bars ask for widgets, which a stored notebook cannot show; the course brings its own bar.
warnings.filterwarnings("ignore", message="IProgress not found")

# bitsandbytes, which peft imports, recommends an optional kernel for 4-bit weights on CPUs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
