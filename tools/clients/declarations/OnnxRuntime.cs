// What the C# client uses of Microsoft.ML.OnnxRuntime, signatures only, so that it compiles without NuGet.
using System;
using System.Collections.Generic;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Microsoft.ML.OnnxRuntime
{
    public class NodeMetadata
    {
        public int[] Dimensions => throw new NotImplementedException();
    }

    public class NamedOnnxValue
    {
        public string Name => throw new NotImplementedException();
        public static NamedOnnxValue CreateFromTensor<T>(string name, Tensor<T> value) => throw new NotImplementedException();
        public IEnumerable<T> AsEnumerable<T>() => throw new NotImplementedException();
    }

    public class DisposableNamedOnnxValue : NamedOnnxValue, IDisposable
    {
        public void Dispose() => throw new NotImplementedException();
    }

    public interface IDisposableReadOnlyCollection<T> : IReadOnlyCollection<T>, IDisposable
    {
    }

    public class InferenceSession : IDisposable
    {
        public InferenceSession(string modelPath) => throw new NotImplementedException();
        public IReadOnlyDictionary<string, NodeMetadata> InputMetadata => throw new NotImplementedException();
        public IDisposableReadOnlyCollection<DisposableNamedOnnxValue> Run(IReadOnlyCollection<NamedOnnxValue> inputs) =>
            throw new NotImplementedException();
        public void Dispose() => throw new NotImplementedException();
    }
}

namespace Microsoft.ML.OnnxRuntime.Tensors
{
    public abstract class Tensor<T>
    {
    }

    public class DenseTensor<T> : Tensor<T>
    {
        public DenseTensor(T[] memory, int[] dimensions) => throw new NotImplementedException();
    }
}
