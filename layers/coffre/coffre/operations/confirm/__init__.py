"""Plans, confirmations and approvals."""
