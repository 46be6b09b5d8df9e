"""CloudWatch metrics: what the journal and the handlers say, counted by minute."""
