"""ECR: its API (`provider`) and the registry that Docker talks to (`distribution`), both over `registry`."""
