"""One module a job: plan, parts and seal, on the floors below."""
