"""The convolutional networks that read the frames."""
