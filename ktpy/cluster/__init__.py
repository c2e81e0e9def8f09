"""The Kubernetes API in our verbs; the only folder that imports kubernetes."""
