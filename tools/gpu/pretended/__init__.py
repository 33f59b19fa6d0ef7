"""A pretended CUDA device, on which ONNX Runtime's own CUDA provider opens and runs models on a machine without a GPU.

The one idea: the provider is the real one, and what it links against (libcudart, libcublas, libcudnn, ...) is replaced
by small libraries that keep device memory in the host's, copy by memmove, and count kernels instead of running them.
So where each node runs, what is copied and waited for and how many kernels a Run launches is what a GPU would be
asked; no number that a kernel computes means anything.
"""
