//! What a convolution computes.

/// Channels, kernel side, stride and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Kernel side.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Zero rows and columns around the image.
    pub padding: usize,
}

impl ConvShape {
    /// Whether Winograd's algorithm applies and pays.
    pub fn uses_winograd(&self) -> bool {
        self.kernel == 3 && self.stride == 1 && self.padding == 1 && self.inputs >= 16
    }

    /// Rows or columns of the output.
    pub(super) fn output_side(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }
}
