"""One module per protocol: each yields Arrow record batches, in bounded memory."""
