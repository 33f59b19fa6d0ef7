// Attributions of a picture from an exported model: one run. Needs the NuGet package Microsoft.ML.OnnxRuntime.
//   onnx-ig export digits.onnx -o model.onnx --target predicted
//   dotnet run model.onnx picture.f32        (picture.f32: raw float32, row by row)
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

public static class Attribute
{
    private const int Top = 5;

    public static int Main(string[] arguments)
    {
        using (var session = new InferenceSession(arguments[0]))
        {
            // baseline, path and target are baked in: the picture is the only input
            var image = session.InputMetadata.Single();
            var shape = image.Value.Dimensions.Select(size => Math.Max(size, 1)).ToArray();
            var pixels = new float[shape.Aggregate(1, (count, size) => count * size)];
            Buffer.BlockCopy(File.ReadAllBytes(arguments[1]), 0, pixels, 0, pixels.Length * sizeof(float));
            var input = NamedOnnxValue.CreateFromTensor(image.Key, new DenseTensor<float>(pixels, shape));
            using (var results = session.Run(new[] { input }))
            {
                var attribution = Values<float>(results, "attribution_" + image.Key);
                if (attribution.Any(value => float.IsNaN(value) || float.IsInfinity(value)))
                {
                    Console.Error.WriteLine(
                        "error: the attribution is not finite: the target or the input is not valid");
                    return 1;
                }
                var target = Values<long>(results, "target_used")[0];
                var score = Values<float>(results, "score")[0];
                var delta = Values<float>(results, "convergence_delta")[0];
                Console.WriteLine(FormattableString.Invariant($"target {target} score {score:G6} delta {delta:e1}"));
                var order = Enumerable.Range(0, pixels.Length).OrderByDescending(i => Math.Abs(attribution[i]));
                foreach (var i in order.Take(Top))
                {
                    Console.WriteLine(FormattableString.Invariant($"{i} {attribution[i]:e6}"));
                }
                return 0;
            }
        }
    }

    private static T[] Values<T>(IEnumerable<NamedOnnxValue> results, string name) =>
        results.Single(result => result.Name == name).AsEnumerable<T>().ToArray();
}
