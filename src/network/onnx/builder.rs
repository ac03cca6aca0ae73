//! Builds a graph node by node.

use prost::Message;

use crate::network::onnx::OPSET;
use crate::network::onnx::proto::{
    Attribute, Dimension, FLOAT, Graph, INT64, IR_VERSION, Model, Node, OperatorSet, Shape,
    TensorType, TensorValues, ValueInfo, ValueType,
};
use crate::network::weights::{StateDict, WeightsError};

/// A dimension of an input or output.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// Always so many.
    Fixed(usize),
    /// Any number, the same wherever the name stands.
    Any(&'static str),
}

/// A graph in the making, with the weights that it draws on.
pub struct GraphBuilder<'a> {
    state: &'a StateDict,
    graph: Graph,
}

/// Value of an attribute.
pub enum Setting {
    /// A number.
    Int(i64),
    /// A fraction.
    Float(f32),
    /// A word.
    Text(&'static str),
    /// Numbers.
    Ints(Vec<i64>),
}

impl<'a> GraphBuilder<'a> {
    /// An empty graph.
    pub fn new(name: &str, state: &'a StateDict) -> Self {
        Self { state, graph: Graph { name: name.into(), ..Graph::default() } }
    }

    /// Declares an input of floats; gives back its name.
    pub fn input(&mut self, name: &str, sizes: &[Size]) -> String {
        self.graph.input.push(value_info(name, sizes));
        name.into()
    }

    /// Declares `value` an output of floats under its name.
    pub fn output(&mut self, name: &str, sizes: &[Size]) {
        self.graph.output.push(value_info(name, sizes));
    }

    /// Adds an operation whose one output is `output`; gives back that name.
    pub fn node(
        &mut self,
        operation: &str,
        inputs: &[&str],
        output: &str,
        settings: Vec<(&str, Setting)>,
    ) -> String {
        let attribute = settings.into_iter().map(|(name, setting)| {
            let mut attribute = Attribute { name: name.into(), ..Attribute::default() };
            match setting {
                Setting::Float(value) => (attribute.f, attribute.kind) = (Some(value), 1),
                Setting::Int(value) => (attribute.i, attribute.kind) = (Some(value), 2),
                Setting::Text(word) => {
                    (attribute.s, attribute.kind) = (Some(word.as_bytes().to_vec()), 3);
                }
                Setting::Ints(values) => (attribute.ints, attribute.kind) = (values, 7),
            }
            attribute
        });
        self.graph.node.push(Node {
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.into()],
            name: output.into(),
            op_type: operation.into(),
            attribute: attribute.collect(),
        });
        output.into()
    }

    /// The zeros of `[length of the first axis of value]`: every region lies in the one image.
    pub fn zeros_like_rows(&mut self, value: &str) -> String {
        let shape = self.node(
            "Shape",
            &[value],
            &format!("{value}/shape"),
            vec![("start", Setting::Int(0)), ("end", Setting::Int(1))],
        );
        let zeros = format!("{value}/image");
        self.graph.node.push(Node {
            input: vec![shape],
            output: vec![zeros.clone()],
            name: zeros.clone(),
            op_type: "ConstantOfShape".into(),
            attribute: vec![Attribute {
                name: "value".into(),
                t: Some(TensorValues {
                    dims: vec![1],
                    data_type: INT64,
                    name: String::new(),
                    raw_data: 0i64.to_le_bytes().to_vec(),
                }),
                kind: 4,
                ..Attribute::default()
            }],
        });
        zeros
    }

    /// Draws a parameter in, of a known rank.
    ///
    /// # Errors
    /// If the weights lack it.
    pub fn weight(&mut self, name: &str) -> Result<String, WeightsError> {
        let parameter = self
            .state
            .tensors
            .get(name)
            .ok_or_else(|| WeightsError::Missing { name: name.into() })?;
        self.graph.initializer.push(TensorValues {
            dims: parameter.shape.iter().map(|size| *size as i64).collect(),
            data_type: FLOAT,
            name: name.into(),
            raw_data: parameter.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        Ok(name.into())
    }

    /// The model's file.
    pub fn finish(self, documentation: &str) -> Vec<u8> {
        Model {
            ir_version: IR_VERSION,
            producer_name: "groundglass".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            doc_string: documentation.into(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        }
        .encode_to_vec()
    }
}

fn value_info(name: &str, sizes: &[Size]) -> ValueInfo {
    let dim = sizes
        .iter()
        .map(|size| match size {
            Size::Fixed(value) => Dimension { dim_value: Some(*value as i64), dim_param: None },
            Size::Any(name) => Dimension { dim_value: None, dim_param: Some((*name).into()) },
        })
        .collect();
    let tensor_type = Some(TensorType { elem_type: FLOAT, shape: Some(Shape { dim }) });
    ValueInfo { name: name.into(), r#type: Some(ValueType { tensor_type }) }
}
