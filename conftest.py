"""Settings for every test, the notebooks' included: no progress bars in outputs, runs in a folder of their own."""

import os
import tempfile

os.environ.setdefault("COURSE_PROGRESS", "off")
os.environ.setdefault("COURSE_RUNS", tempfile.mkdtemp(prefix="course-runs-"))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
