"""Rules of sums of products: matrices, Einsum, determinants, Fourier transforms."""
