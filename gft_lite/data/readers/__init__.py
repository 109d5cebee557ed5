"""Files, folders and Hub datasets → records."""
