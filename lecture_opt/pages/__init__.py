"""Pages that are one file, and the colours that figures and pages share."""
