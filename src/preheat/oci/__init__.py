"""Images as values: digests, manifests, blobs, layouts, layers, and how they are built. Knows no server."""
