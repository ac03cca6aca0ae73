//! The part of ONNX's protobuf messages that the graphs need (onnx.proto, IR version 8).

use prost::Message;

/// IR version that goes with operator set 17.
pub const IR_VERSION: i64 = 8;
/// Element types.
pub const FLOAT: i32 = 1;
/// 64-bit integers.
pub const INT64: i32 = 7;

/// A model.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[allow(missing_docs)]
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[allow(missing_docs)]
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[allow(missing_docs)]
    #[prost(string, tag = "3")]
    pub producer_version: String,
    #[allow(missing_docs)]
    #[prost(string, tag = "6")]
    pub doc_string: String,
    #[allow(missing_docs)]
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[allow(missing_docs)]
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
}

/// A set of operators.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSet {
    #[allow(missing_docs)]
    #[prost(string, tag = "1")]
    pub domain: String,
    #[allow(missing_docs)]
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A graph.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[allow(missing_docs)]
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[allow(missing_docs)]
    #[prost(string, tag = "2")]
    pub name: String,
    #[allow(missing_docs)]
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorValues>,
    #[allow(missing_docs)]
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[allow(missing_docs)]
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
}

/// An operation.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[allow(missing_docs)]
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[allow(missing_docs)]
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[allow(missing_docs)]
    #[prost(string, tag = "3")]
    pub name: String,
    #[allow(missing_docs)]
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[allow(missing_docs)]
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

/// A setting of an operation.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[allow(missing_docs)]
    #[prost(string, tag = "1")]
    pub name: String,
    #[allow(missing_docs)]
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    #[allow(missing_docs)]
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[allow(missing_docs)]
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    #[allow(missing_docs)]
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorValues>,
    #[allow(missing_docs)]
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[allow(missing_docs)]
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

/// A constant.
#[derive(Clone, PartialEq, Message)]
pub struct TensorValues {
    #[allow(missing_docs)]
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[allow(missing_docs)]
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[allow(missing_docs)]
    #[prost(string, tag = "8")]
    pub name: String,
    #[allow(missing_docs)]
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

/// Name and type of an input or output.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    #[allow(missing_docs)]
    #[prost(string, tag = "1")]
    pub name: String,
    #[allow(missing_docs)]
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<ValueType>,
}

/// A type.
#[derive(Clone, PartialEq, Message)]
pub struct ValueType {
    #[allow(missing_docs)]
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}

/// Elements and dimensions of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    #[allow(missing_docs)]
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[allow(missing_docs)]
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// Dimensions.
#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    #[allow(missing_docs)]
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// A dimension: a number or a name.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    #[allow(missing_docs)]
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
    #[allow(missing_docs)]
    #[prost(string, optional, tag = "2")]
    pub dim_param: Option<String>,
}
