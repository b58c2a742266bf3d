"""An index on a Milvus server."""
