"""Deployment without SAM: the built template and code, a bucket for them, and CloudFormation's change sets."""
