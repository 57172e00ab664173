"""The same small automation in Python, Java, Go and TypeScript."""
