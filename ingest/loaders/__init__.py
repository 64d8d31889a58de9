"""What reads files: one loader a family of formats."""
