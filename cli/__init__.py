"""Command-line programs: options in, packages called, result out."""
