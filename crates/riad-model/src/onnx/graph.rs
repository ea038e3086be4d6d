//! Writing down a graph, node by node.

use super::proto::{
    ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_STRING, AttributeProto, BOOL, Dimension, FLOAT, GraphProto, INT64,
    NodeProto, TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
};

/// A graph under construction. A value is known by its name, and a node has the name of the one value that it gives.
pub(crate) struct Graph(GraphProto);

/// A side of an input or output.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    /// The same in every run.
    Fixed(usize),
    /// Known when the graph is run; equal names, equal sides.
    Named(&'static str),
}

impl Graph {
    pub(crate) fn new(name: &str) -> Self {
        Self(GraphProto {
            name: Some(name.to_owned()),
            ..GraphProto::default()
        })
    }

    /// Declares an input of floats.
    pub(crate) fn input(&mut self, name: &str, shape: &[Side], about: &str) -> String {
        self.0.input.push(value_info(name, shape, about));
        name.to_owned()
    }

    /// Declares that a value is an output, of floats.
    pub(crate) fn output(&mut self, name: &str, shape: &[Side], about: &str) {
        self.0.output.push(value_info(name, shape, about));
    }

    /// Adds a node; gives its output's name.
    pub(crate) fn node(&mut self, name: &str, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        self.0.node.push(NodeProto {
            input: inputs.iter().copied().map(str::to_owned).collect(),
            output: vec![name.to_owned()],
            name: Some(name.to_owned()),
            op_type: Some(op.to_owned()),
            attribute: attributes,
        });
        name.to_owned()
    }

    pub(crate) fn reshape(&mut self, name: &str, value: &str, shape: &[i64]) -> String {
        let shape = self.integers(&format!("{name}.shape"), shape);
        self.node(name, "Reshape", &[value, &shape], vec![])
    }

    /// A constant of floats.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, FLOAT, bytes)
    }

    /// A single float.
    pub(crate) fn float(&mut self, name: &str, value: f32) -> String {
        self.floats(name, &[], &[value])
    }

    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, &[values.len()], INT64, bytes)
    }

    pub(crate) fn booleans(&mut self, name: &str, shape: &[usize], values: &[bool]) -> String {
        let bytes = values.iter().copied().map(u8::from).collect();
        self.constant(name, shape, BOOL, bytes)
    }

    fn constant(&mut self, name: &str, shape: &[usize], data_type: i32, bytes: Vec<u8>) -> String {
        self.0.initializer.push(TensorProto {
            dims: shape.iter().map(|&side| side as i64).collect(),
            data_type: Some(data_type),
            name: Some(name.to_owned()),
            raw_data: Some(bytes),
        });
        name.to_owned()
    }

    pub(crate) fn finish(self) -> GraphProto {
        self.0
    }
}

fn value_info(name: &str, shape: &[Side], about: &str) -> ValueInfoProto {
    let dim = |side: &Side| match *side {
        Side::Fixed(side) => Dimension {
            dim_value: Some(side as i64),
            dim_param: None,
        },
        Side::Named(name) => Dimension {
            dim_value: None,
            dim_param: Some(name.to_owned()),
        },
    };
    let shape = TensorShapeProto {
        dim: shape.iter().map(dim).collect(),
    };
    let tensor_type = TensorType {
        elem_type: Some(FLOAT),
        shape: Some(shape),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor_type),
        }),
        doc_string: Some(about.to_owned()),
    }
}

pub(crate) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(ATTRIBUTE_INT),
        i: Some(value),
        ..AttributeProto::default()
    }
}

pub(crate) fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(ATTRIBUTE_INTS),
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(ATTRIBUTE_STRING),
        s: Some(value.as_bytes().to_vec()),
        ..AttributeProto::default()
    }
}
