"""Run a load test with Locust and keep every request: an HTTP client, the same for the local cloud and AWS."""
