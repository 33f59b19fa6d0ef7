// Attributions of a picture from an exported model: one run. Needs github.com/yalue/onnxruntime_go and, in
// ONNXRUNTIME_LIB, the path of ONNX Runtime's shared library.
//	onnx-ig export digits.onnx -o model.onnx --target predicted
//	go run attribute.go model.onnx picture.f32        (picture.f32: raw float32, row by row)
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"
	"sort"

	ort "github.com/yalue/onnxruntime_go"
)

func check(err error) {
	if err != nil {
		log.Fatalf("error: %v", err)
	}
}

func main() {
	ort.SetSharedLibraryPath(os.Getenv("ONNXRUNTIME_LIB"))
	check(ort.InitializeEnvironment())
	inputs, _, err := ort.GetInputOutputInfo(os.Args[1])
	check(err)
	image, shape := inputs[0].Name, inputs[0].Dimensions // baseline, path and target are baked in: the only input
	for i := range shape {
		shape[i] = max(shape[i], 1)
	}
	pixels := make([]float32, shape.FlattenedSize())
	file, err := os.Open(os.Args[2])
	check(err)
	check(binary.Read(file, binary.LittleEndian, pixels))
	input, err := ort.NewTensor(shape, pixels)
	check(err)
	names := []string{"attribution_" + image, "target_used", "score", "convergence_delta"}
	session, err := ort.NewDynamicAdvancedSession(os.Args[1], []string{image}, names, nil)
	check(err)
	outputs := make([]ort.Value, len(names)) // nil: the runtime allocates them
	check(session.Run([]ort.Value{input}, outputs))
	attribution, order := outputs[0].(*ort.Tensor[float32]).GetData(), []int{}
	for i, value := range attribution {
		if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
			log.Fatal("error: the attribution is not finite: the target or the input is not valid")
		}
		order = append(order, i)
	}
	fmt.Printf("target %d score %.6g delta %.1e\n", outputs[1].(*ort.Tensor[int64]).GetData()[0],
		outputs[2].(*ort.Tensor[float32]).GetData()[0], outputs[3].(*ort.Tensor[float32]).GetData()[0])
	sort.Slice(order, func(i, j int) bool {
		return math.Abs(float64(attribution[order[i]])) > math.Abs(float64(attribution[order[j]]))
	})
	for _, i := range order[:min(5, len(order))] {
		fmt.Printf("%d %.6e\n", i, attribution[i])
	}
}
