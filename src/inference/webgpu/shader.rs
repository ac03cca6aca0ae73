//! The shaders, and what each is bound to.

/// Values of a shader's overridable constants.
pub type Constants = Vec<(&'static str, f64)>;

/// What a shader does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes it, and may read what it wrote.
    Write,
    /// Reads its shape from it.
    Shape,
}

/// A shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shader {
    /// A convolution, or a product of matrices.
    Convolution,
    /// The first convolution.
    Stem,
    /// Maximum of 3x3 cells.
    MaxPool,
    /// The patches of Winograd's convolution.
    WinogradInput,
    /// Its outputs.
    WinogradOutput,
    /// Regions cut out of a map.
    RoiAlign,
    /// The box head behind its first product.
    BoxHead,
    /// The boxes whose masks will be wanted.
    Select,
    /// Masks of their own classes.
    MaskLogits,
}

use Access::{Read, Shape, Write};

impl Shader {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Convolution,
        Self::Stem,
        Self::MaxPool,
        Self::WinogradInput,
        Self::WinogradOutput,
        Self::RoiAlign,
        Self::BoxHead,
        Self::Select,
        Self::MaskLogits,
    ];

    /// Its file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Convolution => "convolution",
            Self::Stem => "stem",
            Self::MaxPool => "max_pool",
            Self::WinogradInput => "winograd_input",
            Self::WinogradOutput => "winograd_output",
            Self::RoiAlign => "roi_align",
            Self::BoxHead => "box_head",
            Self::Select => "select",
            Self::MaskLogits => "mask_logits",
        }
    }

    /// Its text.
    pub fn source(self) -> &'static str {
        match self {
            Self::Convolution => include_str!("shaders/convolution.wgsl"),
            Self::Stem => include_str!("shaders/stem.wgsl"),
            Self::MaxPool => include_str!("shaders/max_pool.wgsl"),
            Self::WinogradInput => include_str!("shaders/winograd_input.wgsl"),
            Self::WinogradOutput => include_str!("shaders/winograd_output.wgsl"),
            Self::RoiAlign => include_str!("shaders/roi_align.wgsl"),
            Self::BoxHead => include_str!("shaders/box_head.wgsl"),
            Self::Select => include_str!("shaders/select.wgsl"),
            Self::MaskLogits => include_str!("shaders/mask_logits.wgsl"),
        }
    }

    /// What its bindings are for, in their order.
    pub fn bindings(self) -> &'static [Access] {
        match self {
            Self::Convolution => &[Read, Read, Read, Read, Read, Write, Shape],
            Self::Stem => &[Read, Read, Read, Write, Shape],
            Self::MaxPool => &[Read, Write, Shape],
            Self::WinogradInput => &[Read, Read, Write, Shape],
            Self::WinogradOutput => &[Read, Read, Read, Read, Write, Shape],
            Self::RoiAlign => &[Read, Read, Read, Write, Shape],
            Self::BoxHead => &[Read, Read, Read, Read, Read, Read, Write, Write, Shape],
            Self::Select => &[Read, Read, Write, Write, Write, Write, Write, Shape],
            Self::MaskLogits => &[Read, Read, Read, Read, Read, Write, Shape],
        }
    }
}
