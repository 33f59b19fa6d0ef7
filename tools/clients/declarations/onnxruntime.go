// Package onnxruntime_go holds what the Go client uses of github.com/yalue/onnxruntime_go, signatures only, so that it
// compiles without a module proxy.
package onnxruntime_go

type Shape []int64

func (s Shape) FlattenedSize() int64 { panic("declared only") }

type InputOutputInfo struct {
	Name       string
	Dimensions Shape
}

type Value interface{ Destroy() error }

type TensorData interface{ ~float32 | ~int64 }

type Tensor[T TensorData] struct{}

func (t *Tensor[T]) GetData() []T   { panic("declared only") }
func (t *Tensor[T]) Destroy() error { panic("declared only") }

type (
	SessionOptions         struct{}
	DynamicAdvancedSession struct{}
)

func (s *DynamicAdvancedSession) Run(inputs, outputs []Value) error { panic("declared only") }

func SetSharedLibraryPath(path string) {}

func InitializeEnvironment() error { panic("declared only") }

func GetInputOutputInfo(path string) ([]InputOutputInfo, []InputOutputInfo, error) {
	panic("declared only")
}

func NewTensor[T TensorData](shape Shape, data []T) (*Tensor[T], error) { panic("declared only") }

func NewDynamicAdvancedSession(path string, inputs, outputs []string, options *SessionOptions) (
	*DynamicAdvancedSession, error,
) {
	panic("declared only")
}
