"""Report pages from blocks: Markdown, PDF, figures."""
