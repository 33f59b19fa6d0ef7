// Attributions of a picture from an exported model: one run. Needs the NuGet package Microsoft.ML.OnnxRuntime.
//   onnx-ig export digits.onnx -o model.onnx --target predicted
//   dotnet run -- model.onnx picture.f32        (picture.f32: raw float32, row by row)
using System;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

const int top = 5;

using var session = new InferenceSession(args[0]);
// baseline, path and target are baked in: the picture is the only input
var (image, metadata) = session.InputMetadata.Single();
var shape = metadata.Dimensions.Select(size => Math.Max(size, 1)).ToArray();
var pixels = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(args[1])).ToArray();
var input = NamedOnnxValue.CreateFromTensor(image, new DenseTensor<float>(pixels, shape));

using var results = session.Run(new[] { input });
float[] Floats(string name) => results.Single(result => result.Name == name).AsEnumerable<float>().ToArray();

var attribution = Floats("attribution_" + image);
if (!attribution.All(float.IsFinite))
{
    Console.Error.WriteLine("error: the attribution is not finite: the target or the input is not valid");
    return 1;
}
var target = results.Single(result => result.Name == "target_used").AsEnumerable<long>().First();
Console.WriteLine(FormattableString.Invariant(
    $"target {target} score {Floats("score")[0]:G6} delta {Floats("convergence_delta")[0]:e1}"));
foreach (var index in Enumerable.Range(0, attribution.Length).OrderByDescending(i => Math.Abs(attribution[i])).Take(top))
{
    Console.WriteLine(FormattableString.Invariant($"{index} {attribution[index]:e6}"));
}
return 0;
