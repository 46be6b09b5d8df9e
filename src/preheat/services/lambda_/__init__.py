"""AWS Lambda's control plane and its Invoke operation."""
