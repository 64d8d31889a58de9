"""Reading documents, cutting them into chunks, embedding them, and keeping the indexes true."""
