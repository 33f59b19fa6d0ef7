// go mod tidy && ONNXRUNTIME_LIB=/path/of/libonnxruntime.so go run . model.onnx picture.f32
module client

go 1.21

require github.com/yalue/onnxruntime_go v1.21.0
