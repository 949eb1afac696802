"""What the API and the pages show, read from the catalog and from the records in the vault. Nothing is changed."""
