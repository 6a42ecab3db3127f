"""Programs that talk to the Hugging Face Hub. Imports base."""
