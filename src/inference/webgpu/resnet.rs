//! ResNet's layers behind the stem as dispatches.

use crate::inference::load::{BlockWeights, Loader};
use crate::inference::webgpu::gpu::Gpu;
use crate::inference::webgpu::layers::{After, Conv};
use crate::inference::webgpu::recorder::{Map, Recorder};
use crate::network::Variant;
use crate::network::weights::WeightsError;

/// Residual block: two convolutions, or three in a bottleneck.
#[derive(Debug)]
struct Block {
    convs: Vec<Conv>,
    downsample: Option<Conv>,
}

/// The residual network behind its stem.
#[derive(Debug)]
pub struct ResNet {
    layers: Vec<Vec<Block>>,
}

impl ResNet {
    /// The network whose parameters' names begin with `prefix`.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(
        gpu: &Gpu,
        loader: &Loader<'_>,
        prefix: &str,
        variant: Variant,
    ) -> Result<Self, WeightsError> {
        let block = |BlockWeights { convs, downsample }: BlockWeights<'_>| Block {
            convs: convs.into_iter().map(|weights| Conv::new(gpu, weights)).collect(),
            downsample: downsample.map(|weights| Conv::new(gpu, weights)),
        };
        Ok(Self { layers: loader.residual_layers(prefix, variant, block)? })
    }

    /// From the stem's map to those of the last `count` layers.
    pub fn record(&self, recorder: &mut Recorder<'_>, stem: Map, count: usize) -> Vec<Map> {
        let mut hidden = stem;
        let mut outputs = Vec::new();
        for (index, blocks) in self.layers.iter().enumerate() {
            for (number, block) in blocks.iter().enumerate() {
                let output = block.record(recorder, &hidden);
                // What a layer ends with is an output, if it is one of those wanted.
                let is_wanted = number == 0 && index + count > self.layers.len();
                if !is_wanted {
                    recorder.release(&hidden.numbers);
                }
                hidden = output;
            }
            if index + count >= self.layers.len() {
                outputs.push(hidden.clone());
            }
        }
        outputs
    }
}

impl Block {
    fn record(&self, recorder: &mut Recorder<'_>, input: &Map) -> Map {
        let projected =
            self.downsample.as_ref().map(|conv| conv.record(recorder, input, After::default()));
        let identity = projected.as_ref().unwrap_or(input);
        let last = self.convs.len() - 1;
        let mut hidden: Option<Map> = None;
        for (index, conv) in self.convs.iter().enumerate() {
            let residual = (index == last).then_some(identity);
            let after = After { residual, relu: true, count: None };
            let output = conv.record(recorder, hidden.as_ref().unwrap_or(input), after);
            if let Some(done) = hidden.replace(output) {
                recorder.release(&done.numbers);
            }
        }
        if let Some(projected) = &projected {
            recorder.release(&projected.numbers);
        }
        hidden.unwrap_or_else(|| input.clone())
    }
}
