//! Activations with their channels last, so that every inner loop runs over contiguous channels.

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
        let values = values.chunks_exact(image).flat_map(|image| transpose(image, height * width));
        Self { values: values.collect(), dims: [batch, height, width, channels] }
    }

    /// The values as `[batch, channels, height, width]`.
    pub fn to_channels_first(&self) -> Vec<f32> {
        let image = self.values.len() / self.dims[0].max(1);
        let images = self.values.chunks_exact(image.max(1));
        images.flat_map(|image| transpose(image, self.channels())).collect()
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.dims[3]
    }
}

/// The transpose of a matrix with `columns` columns.
pub fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let mut transposed = Vec::with_capacity(matrix.len());
    for column in 0..columns {
        transposed.extend((0..rows).map(|row| matrix[row * columns + column]));
    }
    transposed
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
