"""How a comparison is shown: terminal, page, figures, CSV and LaTeX, from a `Study` alone."""
