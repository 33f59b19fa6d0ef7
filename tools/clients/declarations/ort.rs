//! What the Rust client uses of the crate ort 2.0.0-rc.10, signatures only, so that it compiles without crates.io.
#![allow(unused_variables)]

#[derive(Debug)]
pub struct Error;
impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        unimplemented!()
    }
}
impl std::error::Error for Error {}
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `ort::inputs![name => value]`
#[macro_export]
macro_rules! inputs {
    ($($name:expr => $value:expr),+) => { vec![$((std::borrow::Cow::from($name), $crate::value::DynValue::from($value))),+] };
}

pub mod value {
    use std::ops::Deref;

    pub struct Shape(Vec<i64>);
    impl Deref for Shape {
        type Target = [i64];
        fn deref(&self) -> &[i64] {
            &self.0
        }
    }

    pub struct ValueType;
    impl ValueType {
        pub fn tensor_shape(&self) -> Option<&Shape> {
            unimplemented!()
        }
    }

    pub struct Tensor<T>(std::marker::PhantomData<T>);
    impl<T> Tensor<T> {
        pub fn from_array(shape_and_data: (Vec<i64>, Vec<T>)) -> crate::Result<Self> {
            unimplemented!()
        }
    }

    pub struct DynValue;
    impl<T> From<Tensor<T>> for DynValue {
        fn from(tensor: Tensor<T>) -> Self {
            unimplemented!()
        }
    }
    impl DynValue {
        pub fn try_extract_tensor<T>(&self) -> crate::Result<(&Shape, &[T])> {
            unimplemented!()
        }
    }
}

pub mod session {
    use crate::value::{DynValue, ValueType};
    use crate::Result;
    use std::{borrow::Cow, marker::PhantomData, ops::Index, path::Path};

    pub struct Input {
        pub name: String,
        pub input_type: ValueType,
    }

    pub struct SessionOutputs<'s>(PhantomData<&'s ()>);
    impl Index<&str> for SessionOutputs<'_> {
        type Output = DynValue;
        fn index(&self, name: &str) -> &DynValue {
            unimplemented!()
        }
    }

    pub struct SessionBuilder;
    impl SessionBuilder {
        pub fn commit_from_file<P: AsRef<Path>>(self, path: P) -> Result<Session> {
            unimplemented!()
        }
    }

    pub struct Session {
        pub inputs: Vec<Input>,
    }
    impl Session {
        pub fn builder() -> Result<SessionBuilder> {
            unimplemented!()
        }
        pub fn run<'s>(&'s mut self, inputs: Vec<(Cow<'_, str>, DynValue)>) -> Result<SessionOutputs<'s>> {
            unimplemented!()
        }
    }
}
