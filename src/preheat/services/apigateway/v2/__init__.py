"""HTTP APIs (API Gateway v2) and function URLs: payload format 2.0 and what comes with it."""
