"""An index in a folder or a bucket: LanceDB stores the clips, memory holds the codes searched."""
