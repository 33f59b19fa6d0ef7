// Gauss–Legendre nodes and weights on [0, 1]: the rule of `onnx-ig attribute`.

/** P_n and its derivative at x, by the recurrence k P_k = (2k − 1) x P_{k−1} − (k − 1) P_{k−2}. */
function legendre(n, x) {
  let [previous, current] = [1, x];
  for (let k = 2; k <= n; k++) {
    [previous, current] = [current, ((2 * k - 1) * x * current - (k - 1) * previous) / k];
  }
  return [current, (n * (x * current - previous)) / (x * x - 1)];
}

/** The n nodes a_k, ascending, and weights w_k with Σ w_k g(a_k) = ∫₀¹ g for polynomials g of degree below 2n. */
export function gaussLegendre(n) {
  const nodes = new Float32Array(n);
  const weights = new Float32Array(n);
  for (let k = 0; k < n; k++) {
    let x = -Math.cos((Math.PI * (k + 0.75)) / (n + 0.5)); // within Newton's reach of the k-th root of P_n
    let value, slope;
    for (let step = 0; step < 6; step++) {
      // each doubles the digits that are right
      [value, slope] = legendre(n, x);
      x -= value / slope;
    }
    nodes[k] = (1 + x) / 2;
    weights[k] = 1 / ((1 - x * x) * slope * slope);
  }
  return { nodes, weights };
}
