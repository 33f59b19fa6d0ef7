//! Attributions of a picture from an exported model: one run. Needs the crate ort (cargo add ort@2.0.0-rc.10).
//!
//!     onnx-ig export digits.onnx -o model.onnx --target predicted
//!     cargo run -- model.onnx picture.f32        (picture.f32: raw float32, row by row)
use std::{env, error::Error, fs};

use ort::{session::Session, value::Tensor};

const TOP: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, model, picture] = arguments.as_slice() else {
        return Err("usage: attribute MODEL PICTURE".into());
    };
    let mut session = Session::builder()?.commit_from_file(model)?;
    // baseline, path and target are baked in: the picture is the only input
    let image = session.inputs[0].name.clone();
    let declared = session.inputs[0].input_type.tensor_shape().ok_or("the input is not a tensor")?;
    let shape: Vec<i64> = declared.iter().map(|&size| size.max(1)).collect();
    let pixels: Vec<f32> = fs::read(picture)?
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let result = session.run(ort::inputs![image.as_str() => Tensor::from_array((shape, pixels))?])?;
    let (_, attribution) = result[format!("attribution_{image}").as_str()].try_extract_tensor::<f32>()?;
    if !attribution.iter().all(|value| value.is_finite()) {
        return Err("the attribution is not finite: the target or the input is not valid".into());
    }
    let (_, target) = result["target_used"].try_extract_tensor::<i64>()?;
    let (_, score) = result["score"].try_extract_tensor::<f32>()?;
    let (_, delta) = result["convergence_delta"].try_extract_tensor::<f32>()?;
    println!("target {} score {:.6} delta {:.1e}", target[0], score[0], delta[0]);
    let mut order: Vec<usize> = (0..attribution.len()).collect();
    order.sort_by(|&a, &b| attribution[b].abs().total_cmp(&attribution[a].abs()));
    for &index in order.iter().take(TOP) {
        println!("{} {:.6e}", index, attribution[index]);
    }
    Ok(())
}
