// Attributions of a picture from an exported model: one run. Needs com.microsoft.onnxruntime:onnxruntime (Maven).
//   onnx-ig export digits.onnx -o model.onnx --target predicted
//   java -cp onnxruntime.jar Attribute.java model.onnx picture.f32        (picture.f32: raw float32, row by row)
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.stream.IntStream;

public final class Attribute {
  private static final int TOP = 5;

  public static void main(String[] arguments) throws OrtException, IOException {
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    try (OrtSession session = environment.createSession(arguments[0], new OrtSession.SessionOptions())) {
      // baseline, path and target are baked in: the picture is the only input
      String image = session.getInputNames().iterator().next();
      long[] shape = ((TensorInfo) session.getInputInfo().get(image).getInfo()).getShape();
      for (int i = 0; i < shape.length; i++) shape[i] = Math.max(shape[i], 1);
      byte[] bytes = Files.readAllBytes(Path.of(arguments[1]));
      FloatBuffer pixels = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
      try (OnnxTensor input = OnnxTensor.createTensor(environment, pixels, shape);
          OrtSession.Result result = session.run(Map.of(image, input))) {
        FloatBuffer values = tensor(result, "attribution_" + image).getFloatBuffer();
        float[] attribution = new float[values.remaining()];
        values.get(attribution);
        for (float value : attribution) {
          if (!Float.isFinite(value)) {
            throw new IllegalStateException("the attribution is not finite: the target or the input is not valid");
          }
        }
        System.out.printf("target %d score %.6g delta %.1e%n", tensor(result, "target_used").getLongBuffer().get(0),
            tensor(result, "score").getFloatBuffer().get(0), tensor(result, "convergence_delta").getFloatBuffer().get(0));
        IntStream.range(0, attribution.length).boxed()
            .sorted(Comparator.comparingDouble(i -> -Math.abs(attribution[i]))).limit(TOP)
            .forEach(i -> System.out.printf("%d %.6e%n", i, attribution[i]));
      }
    }
  }

  private static OnnxTensor tensor(OrtSession.Result result, String name) {
    return (OnnxTensor) result.get(name).orElseThrow();
  }
}
