// Attributions of a picture from an exported model: one Run. Needs ONNX Runtime's C++ package (headers and library).
//   onnx-ig export digits.onnx -o model.onnx --target predicted
//   c++ -std=c++17 attribute.cpp -I$ORT/include -L$ORT/lib -lonnxruntime -o attribute
//   ./attribute model.onnx picture.f32        (picture.f32: raw float32, row by row)
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

constexpr size_t kTop = 5;

static int attribute(const char* model, const char* picture) {
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "attribute");
  Ort::Session session(env, model, Ort::SessionOptions{});  // on Windows the path is a wide string
  Ort::AllocatorWithDefaultOptions allocator;
  // baseline, path and target are baked in: the picture is the only input
  const std::string image = session.GetInputNameAllocated(0, allocator).get();
  auto shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  for (auto& size : shape) size = size < 0 ? 1 : size;
  const auto count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
  std::vector<float> pixels(static_cast<size_t>(count));
  std::ifstream file(picture, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(pixels.data()), static_cast<std::streamsize>(count * sizeof(float))))
    throw std::runtime_error("the picture has too few values");
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input =
      Ort::Value::CreateTensor<float>(memory, pixels.data(), pixels.size(), shape.data(), shape.size());
  const std::string wanted = "attribution_" + image;
  const char* inputs[] = {image.c_str()};
  const char* outputs[] = {wanted.c_str(), "target_used", "score", "convergence_delta"};
  auto result = session.Run(Ort::RunOptions{}, inputs, &input, 1, outputs, 4);
  const float* attribution = result[0].GetTensorData<float>();
  if (!std::all_of(attribution, attribution + count, [](float a) { return std::isfinite(a); }))
    throw std::runtime_error("the attribution is not finite: the target or the input is not valid");
  std::printf("target %lld score %.6g delta %.1e\n", static_cast<long long>(*result[1].GetTensorData<int64_t>()),
              *result[2].GetTensorData<float>(), *result[3].GetTensorData<float>());
  std::vector<size_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return std::fabs(attribution[a]) > std::fabs(attribution[b]); });
  for (size_t i = 0; i < std::min(kTop, order.size()); ++i) std::printf("%zu %.6e\n", order[i], attribution[order[i]]);
  return 0;
}

int main(int, char** argv) try {
  return attribute(argv[1], argv[2]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
