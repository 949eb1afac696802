"""Commands for the stack itself: alerts, keys, functions, the local stack."""
