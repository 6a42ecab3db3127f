"""Is the work done, and is there space for it? Imports base, model, record and trainer."""
