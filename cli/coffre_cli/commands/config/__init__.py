"""The configuration document: shown, changed, checked, compared."""
