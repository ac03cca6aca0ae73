//! Batch norm statistics as means over many slices.
//!
//! With one slice per step, the running statistics remember about ten slices: what a network detects
//! then depends on which slices came last. Their plain mean over many training slices takes that
//! chance out (Wu & Johnson 2021, "Rethinking Batch in BatchNorm", section 3: PreciseBN). The paper
//! does not do it.

use burn::tensor::{Device, Tensor, TensorData};

use crate::dataset::lesions::LesionDataset;
use crate::inference::ModelFile;
use crate::network::batch_norm::Statistics;
use crate::network::{MaskRcnnConfig, StateDict};
use crate::train::config::SegmentationConfig;
use crate::train::mask_rcnn_losses::{TrainingSlice, order};
use crate::train::run::TrainError;

/// The weights of `model` with statistics averaged over `count` slices of `dataset`, drawn and changed as
/// `config` says. The variance of the means, which PreciseBN adds, is left out: it is small.
///
/// # Errors
/// If a file or a weight cannot be used.
pub fn recalibrate(
    model: &ModelFile,
    dataset: &LesionDataset,
    config: &SegmentationConfig,
    count: usize,
    mut tick: impl FnMut(),
) -> Result<StateDict, TrainError> {
    let device = Device::flex();
    let mut network = MaskRcnnConfig::new(model.detector()?.clone())
        .init_with(&model.state, &device)?
        .with_statistics(Statistics::Batch);
    // Every slice replaces the statistics of the one before.
    network.backbone.body = network.backbone.body.with_momentum(1.0);
    let is_statistic = |name: &str| name.ends_with("running_mean") || name.ends_with("running_var");
    let mut state = model.state.clone();
    let mut sums: Option<StateDict> = None;
    for (index, number) in order(dataset, config).from(0).take(count) {
        let input = TrainingSlice::read(dataset, config, index, number)?.input;
        let data = TensorData::new(input.normalised(), [1, 3, input.height, input.width]);
        network.features(Tensor::from_data(data, &device));
        let found = network.state().filtered(is_statistic);
        match &mut sums {
            None => sums = Some(found),
            Some(sums) => {
                for (name, parameter) in found.tensors {
                    if let Some(sum) = sums.tensors.get_mut(&name) {
                        for (sum, value) in sum.values.iter_mut().zip(parameter.values) {
                            *sum += value;
                        }
                    }
                }
            }
        }
        tick();
    }
    for (name, mut parameter) in sums.unwrap_or_default().tensors {
        parameter.values.iter_mut().for_each(|value| *value /= count as f32);
        state.tensors.insert(name, parameter);
    }
    Ok(state)
}
