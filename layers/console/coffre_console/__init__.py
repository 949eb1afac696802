"""The console: pages for people and an API for machines, over what the catalog knows (docs/console.md)."""
