"""Search over one's own documents whose rankings can be trusted: the kernel."""
