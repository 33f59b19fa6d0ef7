"""Operators whose derivative is zero because they answer in steps: rounding, comparisons, logic, positions."""

from __future__ import annotations

from onnx_ig.autodiff.registry import zero_vjp

zero_vjp("Sign", "Ceil", "Floor", "Round", "Hardmax", reason="piecewise constant")
zero_vjp("ArgMax", "ArgMin", reason="a position is an integer")
zero_vjp("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf", reason="a truth value")
zero_vjp("And", "Or", "Xor", "Not", reason="logic on truth values")
zero_vjp("BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", reason="arithmetic on bits")
zero_vjp("BitCast", reason="the bits of a number in another type are no function of its value")
