"""Files, archives, folders and Hub datasets → records."""
