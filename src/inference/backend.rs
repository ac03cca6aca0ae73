//! What runs a network: the CPU ([`crate::inference::CpuBackend`]), a GPU by shaders of our own
//! (`inference::webgpu`), or a device of burn (`inference::BurnBackend`, natively).

use crate::detection::BBox;
use crate::detection::postprocess::Detection;
use crate::detection::proposals::RpnMaps;
use crate::image::NetworkInput;
use crate::inference::error::PredictError;
use crate::inference::progress::Progress;
use crate::inference::settings::Settings;
use crate::inference::slice_features::SliceFeatures;
use crate::network::Architecture;

/// Regions pooled at a time: bounds memory whatever their number.
pub const ROI_CHUNK: usize = 64;

/// Class logits `[boxes, classes]` and deltas `[boxes, 4 * classes]`, row-major.
pub type BoxValues = (Vec<f32>, Vec<f32>);

/// A network ready for inference. Its results are on the host; what lies between is its own.
pub trait Backend {
    /// The pyramid of one slice, in the memory of the backend, and what else it keeps of the slice.
    type Pyramid;

    /// What the network is.
    fn architecture(&self) -> &Architecture;

    /// Backbone, pyramid and proposal head.
    ///
    /// # Errors
    /// If the device fails or `progress` cancels.
    fn pyramid(
        &self,
        input: &NetworkInput,
        progress: &mut impl Progress,
    ) -> impl Future<Output = Result<(Self::Pyramid, Vec<RpnMaps>), PredictError>>;

    /// What the box head says about `proposals`, on an image of (height, width). With `settings`, masks
    /// may be computed ahead.
    ///
    /// # Errors
    /// If the device fails.
    fn boxes(
        &self,
        pyramid: &mut Self::Pyramid,
        proposals: &[BBox],
        image: (usize, usize),
        settings: Option<&Settings>,
    ) -> impl Future<Output = Result<BoxValues, PredictError>>;

    /// Mask logits `[28, 28]` of each detection, for its own class; none without a mask branch.
    ///
    /// # Errors
    /// If the device fails.
    fn masks(
        &self,
        pyramid: &Self::Pyramid,
        detections: &[Detection],
    ) -> impl Future<Output = Result<Vec<Vec<f32>>, PredictError>>;

    /// What a class can be told from beside scores and boxes ([`SliceFeatures`]), for `boxes` on the slice.
    ///
    /// # Errors
    /// If the device fails.
    fn slice_features(
        &self,
        pyramid: &Self::Pyramid,
        boxes: &[BBox],
    ) -> impl Future<Output = Result<SliceFeatures, PredictError>>;

    /// The pyramid's levels, `[256, height, width]` each.
    ///
    /// # Errors
    /// If the device fails.
    fn features(
        &self,
        pyramid: &Self::Pyramid,
    ) -> impl Future<Output = Result<Vec<Vec<f32>>, PredictError>>;
}
