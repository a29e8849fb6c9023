"""Commands: parse the options, call the packages, print the result."""
