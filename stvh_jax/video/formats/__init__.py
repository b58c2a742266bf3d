"""One reader for each format of tracks; each gives `Rows`, what a file says as it stands."""
