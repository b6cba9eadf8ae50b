"""The small modules that the course's notebooks import. Start reading at `training.fit`."""

import logging
import warnings

__version__ = "0.1.0"

# The libraries' own bars ask for widgets, which a stored notebook cannot show; the course brings its own bar.
warnings.filterwarnings("ignore", message="IProgress not found")

# bitsandbytes, which peft imports, recommends an optional kernel for 4-bit weights on CPUs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
