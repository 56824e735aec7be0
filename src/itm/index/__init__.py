"""Search of images by text: embeddings of a trained model, an approximate graph over them, and the file of both."""
