//! Where RoIAlign samples a feature map (He 2017; torchvision's `roi_align` with `aligned=False`).

pub mod axis;
pub mod bins;
