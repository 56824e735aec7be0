"""Image and text encoders: small ones trained from scratch, an offline pretrained pair, any open_clip model."""
