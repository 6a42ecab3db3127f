"""Several runs side by side, and what runs leave behind. May import every room."""
