"""What holds for every test."""

import os

os.environ.pop("COLUMNS", None)  # or what commands print is cut to the width of some terminal
