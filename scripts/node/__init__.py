"""A real Kubernetes node in namespaces of its own, made of Go modules and Debian packages, without Docker."""
