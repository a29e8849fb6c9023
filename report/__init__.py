"""What a person sees: progress, results and tables. Receives events, decides nothing."""
