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

    /// Mean of each channel of each image, `[batch, channels]`.
    pub fn means(&self) -> Vec<f32> {
        let [batch, height, width, channels] = self.dims;
        let cells = height * width;
        let mut means = vec![0.0; batch * channels];
        for (mean, image) in
            means.chunks_exact_mut(channels).zip(self.values.chunks_exact(cells * channels))
        {
            for cell in image.chunks_exact(channels) {
                mean.iter_mut().zip(cell).for_each(|(sum, value)| *sum += value);
            }
            mean.iter_mut().for_each(|sum| *sum /= cells as f32);
        }
        means
    }

    /// Largest value of each channel of each image, `[batch, channels]`.
    pub fn maxima(&self) -> Vec<f32> {
        let [batch, height, width, channels] = self.dims;
        let mut maxima = vec![f32::NEG_INFINITY; batch * channels];
        for (largest, image) in maxima
            .chunks_exact_mut(channels)
            .zip(self.values.chunks_exact(height * width * channels))
        {
            for cell in image.chunks_exact(channels) {
                largest.iter_mut().zip(cell).for_each(|(max, value)| *max = max.max(*value));
            }
        }
        maxima
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
        // A channel is twenty numbers in a row.
        assert_eq!(map.means()[..2], [9.5, 29.5]);
        assert_eq!(map.maxima(), [19.0, 39.0, 59.0, 79.0, 99.0, 119.0]);
    }
}
