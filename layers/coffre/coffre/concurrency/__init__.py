"""What threads share: a budget of memory, and work that is started ahead of its consumer. No I/O of its own."""
