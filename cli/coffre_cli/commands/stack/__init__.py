"""Commands for the stack itself: alerts, functions, the local stack."""
