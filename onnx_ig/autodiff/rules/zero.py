"""Operators whose derivative is zero wherever it exists: they look at shapes, compare, count, draw, or handle text."""

from onnx_ig.autodiff.registry import zero_vjp

zero_vjp("Shape", "Size", reason="a shape does not change with the values")
zero_vjp("NonZero", "NonMaxSuppression", reason="the result is made of positions, which are integers")
zero_vjp("Constant", "RandomNormal", "RandomUniform", reason="it has no input")
zero_vjp("ConstantOfShape", "EyeLike", reason="only the shape of the input matters")
zero_vjp("RandomNormalLike", "RandomUniformLike", reason="only the shape of the input matters")
zero_vjp("Bernoulli", "Multinomial", reason="a sample is a step function of the probabilities it is drawn with")
zero_vjp("HannWindow", "HammingWindow", "BlackmanWindow", reason="the only input is the length, an integer")
zero_vjp("MelWeightMatrix", reason="the band edges are rounded down to whole bins of the spectrum")
zero_vjp("TfIdfVectorizer", reason="it counts n-grams of integers or text")
zero_vjp("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch", reason="its input is text")
zero_vjp("ImageDecoder", reason="its input is the bytes of a file")
zero_vjp("SequenceLength", "OptionalHasElement", reason="the result does not change with the values")
zero_vjp("SequenceEmpty", reason="it has no input")
zero_vjp("Sign", "Ceil", "Floor", "Round", "Hardmax", reason="piecewise constant")
zero_vjp("ArgMax", "ArgMin", reason="a position is an integer")
zero_vjp("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf", reason="a truth value")
zero_vjp("And", "Or", "Xor", "Not", reason="logic on truth values")
zero_vjp("BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", reason="arithmetic on bits")
zero_vjp("BitCast", reason="the bits of a number in another type are no function of its value")
