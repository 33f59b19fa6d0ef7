"""The parts of tools.gpu_check: what is measured on a GPU, on which models, and how."""
