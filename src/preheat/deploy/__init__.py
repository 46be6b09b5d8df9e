"""Deploy a project as a Lambda function behind a REST API: an AWS client, the same for the local cloud and AWS."""
