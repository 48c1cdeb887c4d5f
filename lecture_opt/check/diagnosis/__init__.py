"""Why an optimizer is not what it should be: which rule it is, and what changed in it."""
