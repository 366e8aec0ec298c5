"""One module a revision; its file bears the revision's name."""
