"""The pipeline's stages, one small module each: read, call, write."""
