"""PyTorch models: read, exported, checked against torch. torch is imported here and in reference.py alone."""
