"""What an optimizer costs: its own time and memory, beside others in the same run."""
