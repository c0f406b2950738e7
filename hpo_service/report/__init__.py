"""The report of a study: one self-contained page, HTML or Markdown, of what was searched, found and spent."""
