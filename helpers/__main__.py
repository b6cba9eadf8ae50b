"""Lets `python -m helpers` run the command line."""

from helpers.cli.course import main

main()
