"""The fault-injection benchmark of the checker: real models, real corpora, stored indexes."""
