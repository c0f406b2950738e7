"""One module per resource; each route parses, calls a verb, and answers with a schema."""
