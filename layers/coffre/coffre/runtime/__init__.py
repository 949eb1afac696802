"""The edge to Lambda: settings, events, logs, and the only place where things are put together."""
