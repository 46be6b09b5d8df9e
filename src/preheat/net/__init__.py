"""Floor 1: the HTTP/1.1 server that the front and the Runtime API share."""
