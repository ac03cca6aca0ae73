//! The network on a CPU, natively and in wasm: inference alone, and without burn.
//!
//! Activations lie channels last, so every inner loop runs over contiguous channels; batch norm is folded
//! into the convolutions at load. It computes what [`super::MaskRcnn`] computes, several times faster, and
//! a visitor who has no GPU downloads a tenth of the program.

pub mod conv;
mod linear;
mod load;
mod mask_rcnn;
pub mod pooling;
pub mod roi_align;
mod score_module;
pub mod upscale;
pub mod winograd;

pub use mask_rcnn::HostMaskRcnn;
pub use score_module::HostScoreModule;

/// Values of a batch of images or regions.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureMap {
    /// Row-major, channels last.
    pub values: Vec<f32>,
    /// `[batch, height, width, channels]`.
    pub dims: [usize; 4],
}

impl FeatureMap {
    /// From `[batch, channels, height, width]` values.
    pub fn from_channels_first(
        values: &[f32],
        [batch, channels, height, width]: [usize; 4],
    ) -> Self {
        let image = channels * height * width;
        let values = values.chunks_exact(image).flat_map(|image| turn(image, height * width));
        Self { values: values.collect(), dims: [batch, height, width, channels] }
    }

    /// The values as `[batch, channels, height, width]`.
    pub fn to_channels_first(&self) -> Vec<f32> {
        let image = self.values.len() / self.dims[0].max(1);
        let images = self.values.chunks_exact(image.max(1));
        images.flat_map(|image| turn(image, self.channels())).collect()
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.dims[3]
    }
}

/// The transpose of a matrix with `columns` columns.
fn turn(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let mut turned = Vec::with_capacity(matrix.len());
    for column in 0..columns {
        turned.extend((0..rows).map(|row| matrix[row * columns + column]));
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_first_and_last_are_each_others_inverse() {
        let values: Vec<f32> = (0..2 * 3 * 4 * 5).map(|value| value as f32).collect();
        let map = FeatureMap::from_channels_first(&values, [2, 3, 4, 5]);
        assert_eq!(map.dims, [2, 4, 5, 3]);
        assert_eq!(map.values[..3], [0.0, 20.0, 40.0]);
        assert_eq!(map.to_channels_first(), values);
    }
}
