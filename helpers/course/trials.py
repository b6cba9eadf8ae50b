"""What exercises do with a function that a learner wrote: put it to work on a small model, and return what came of it.

Each takes the learner's function and the arguments of a case in `data/exercises.toml`, and returns numbers to compare;
None where the function returned None, which means that it was not tried.
"""
