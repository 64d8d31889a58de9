"""The same search and answers for programs that speak MCP, over stdio and HTTP."""
