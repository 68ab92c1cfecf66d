//! rten: runs ONNX models in pure Rust, with nothing to install.

use std::sync::Arc;

use ndarray::ArrayView4;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensorView, TensorView};

use super::Network;
use crate::detect::decode::{MOST_OUTPUTS, Output};
use crate::error::{Cause, DetectorError, DetectorKind, Result};

pub(super) struct RtenNetwork {
    model: Model,
    input: NodeId,
    outputs: Vec<NodeId>,
    pool: Arc<ThreadPool>,
}

impl RtenNetwork {
    /// An empty list of outputs means the model's first one.
    pub fn load(
        bytes: Vec<u8>,
        input: &str,
        outputs: &[String],
        threads: usize,
    ) -> Result<RtenNetwork, Cause> {
        let model = ModelOptions::with_all_ops().prepack_weights(true).load(bytes)?;
        let input = model.node_id(input)?;
        let outputs = if outputs.is_empty() {
            vec![*model.output_ids().first().ok_or("it has no output")?]
        } else {
            let ids: std::result::Result<Vec<NodeId>, _> = outputs.iter().map(|n| model.node_id(n)).collect();
            ids?
        };
        let pool = Arc::new(ThreadPool::with_num_threads(threads));
        Ok(RtenNetwork { model, input, outputs, pool })
    }
}

impl Network for RtenNetwork {
    fn run(
        &mut self,
        input: ArrayView4<'_, f32>,
        read: &mut dyn FnMut(&[Output<'_>]) -> Result<()>,
    ) -> Result<()> {
        let failed = |why: String| DetectorError::new(DetectorKind::Inference, format!("rten: {why}"));
        let shape: [usize; 4] = input.dim().into();
        let data = input.as_slice().ok_or_else(|| failed("the tensor is not contiguous".into()))?;
        let tensor = NdTensorView::from_data(shape, data);
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let values: Vec<Value> = self
            .model
            .run(vec![(self.input, tensor.into())], &self.outputs, Some(options))
            .map_err(|e| failed(e.to_string()).caused_by(e))?;
        let mut views: [Option<TensorView<'_, f32>>; MOST_OUTPUTS] = [const { None }; MOST_OUTPUTS];
        let mut shown = [Output::default(); MOST_OUTPUTS];
        for (value, view) in values.iter().zip(&mut views) {
            *view = Some(value.try_into().map_err(|_| failed("an output is not of 32-bit floats".into()))?);
        }
        for (view, place) in views.iter().flatten().zip(&mut shown) {
            let data = view.data().ok_or_else(|| failed("an output is not contiguous".into()))?;
            let sides = view.shape().iter().copied();
            *place = Output::new(sides, data)
                .ok_or_else(|| failed("an output has more than four sides".into()))?;
        }
        read(&shown[..values.len().min(MOST_OUTPUTS)])
    }
}
