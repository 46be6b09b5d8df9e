"""API Gateway REST APIs (v1): the control plane (`provider`) and the data plane (`gateway`)."""
