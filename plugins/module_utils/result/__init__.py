"""Is the work done, and is there room for it? Imports base, model, record and trainer."""
