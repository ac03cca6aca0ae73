//! How findings are corrected: with which tool, of what size, on which lesion.

use crate::classes::LesionKind;
use crate::report::correction::LesionId;
use crate::report::measurements::Shape;

/// Smallest and largest radius of the brush, in pixels of the slice.
pub const RADII: [f64; 2] = [0.5, 40.0];

/// What a pointer does on the slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tool {
    /// It moves and windows, as ever.
    #[default]
    Look,
    /// It adds to a lesion.
    Brush,
    /// It takes from a lesion.
    Eraser,
    /// It measures a distance.
    Ruler,
    /// It measures the values within an ellipse.
    Ellipse,
}

impl Tool {
    /// Whether it measures.
    pub fn measures(self) -> bool {
        matches!(self, Self::Ruler | Self::Ellipse)
    }

    /// The shape between two places, if it measures.
    pub fn shape(self, ends: [(f64, f64); 2]) -> Option<Shape> {
        match self {
            Self::Ruler => Some(Shape::Ruler(ends)),
            Self::Ellipse => Some(Shape::Ellipse(ends)),
            Self::Look | Self::Brush | Self::Eraser => None,
        }
    }
}

/// How findings are being corrected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Editing {
    /// The tool.
    pub tool: Tool,
    /// Radius of the brush in pixels of the slice.
    pub radius: f64,
    /// The lesion that is corrected; `None` for one that the next stroke begins.
    pub lesion: Option<LesionId>,
    /// Kind of a new lesion.
    pub kind: LesionKind,
}

impl Default for Editing {
    fn default() -> Self {
        Self { tool: Tool::Look, radius: 4.0, lesion: None, kind: LesionKind::Lesion }
    }
}

impl Editing {
    /// Whether a pointer draws: there is nothing to erase before a lesion is chosen.
    pub fn draws(&self) -> bool {
        match self.tool {
            Tool::Look => false,
            Tool::Brush | Tool::Ruler | Tool::Ellipse => true,
            Tool::Eraser => self.lesion.is_some(),
        }
    }

    /// The same with a brush of this radius, or the nearest possible one.
    pub fn with_radius(self, radius: f64) -> Self {
        Self { radius: radius.clamp(RADII[0], RADII[1]), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_erased_before_a_lesion_is_chosen() {
        let eraser = Editing { tool: Tool::Eraser, ..Editing::default() };
        assert!(!eraser.draws() && !Editing::default().draws());
        assert!(Editing { lesion: Some(LesionId::Found(0)), ..eraser }.draws());
        assert_eq!(eraser.with_radius(1e9).radius, RADII[1]);
    }
}
