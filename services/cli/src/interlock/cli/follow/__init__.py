"""Following one run on a terminal or in a log, and deciding about its steps on the way."""
