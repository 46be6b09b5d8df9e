"""CloudWatch Logs Insights: its query language over log events. Pure, but for reading the files."""
