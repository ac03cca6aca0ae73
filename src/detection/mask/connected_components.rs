//! 8-connected components of a mask (docs/method.md, 5.2).

use crate::detection::{BBox, Mask};

/// One connected region.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Its pixels, as a mask of the whole image.
    pub mask: Mask,
    /// Its bounding box, far corner exclusive.
    pub bbox: BBox,
    /// Its size in pixels.
    pub area: usize,
}

/// The 8-connected components of `mask` with more than `minimum_area` pixels, in the order of their
/// first pixel, row by row.
pub fn connected_components(mask: &Mask, minimum_area: usize) -> Vec<Component> {
    let (width, height) = (mask.width as isize, mask.height as isize);
    let mut seen = Mask::empty(mask.width, mask.height);
    let mut found = Vec::new();
    let mut stack = Vec::new();
    for start in 0..mask.pixels.len() {
        if !mask.pixels[start] || seen.pixels[start] {
            continue;
        }
        let mut region = Vec::new();
        seen.pixels[start] = true;
        stack.push(start);
        while let Some(index) = stack.pop() {
            region.push(index);
            let (x, y) = ((index as isize) % width, (index as isize) / width);
            for ny in (y - 1).max(0)..=(y + 1).min(height - 1) {
                for nx in (x - 1).max(0)..=(x + 1).min(width - 1) {
                    let neighbour = (ny * width + nx) as usize;
                    if mask.pixels[neighbour] && !seen.pixels[neighbour] {
                        seen.pixels[neighbour] = true;
                        stack.push(neighbour);
                    }
                }
            }
        }
        if region.len() > minimum_area {
            found.push(component(mask, &region));
        }
    }
    found
}

fn component(mask: &Mask, region: &[usize]) -> Component {
    let mut own = Mask::empty(mask.width, mask.height);
    for &index in region {
        own.pixels[index] = true;
    }
    let bbox = bounding_box(&own).unwrap_or_default();
    Component { mask: own, bbox, area: region.len() }
}

/// The box around all set pixels, far corner exclusive; `None` if nothing is set.
pub fn bounding_box(mask: &Mask) -> Option<BBox> {
    let mut bbox: Option<BBox> = None;
    for (index, _) in mask.pixels.iter().enumerate().filter(|(_, set)| **set) {
        let (x, y) = ((index % mask.width) as f32, (index / mask.width) as f32);
        let known = bbox.unwrap_or(BBox::new(x, y, x, y));
        bbox = Some(BBox::new(
            known.x1.min(x),
            known.y1.min(y),
            known.x2.max(x + 1.0),
            known.y2.max(y + 1.0),
        ));
    }
    bbox
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let pixels = rows.iter().flat_map(|r| r.bytes().map(|b| b == b'#')).collect();
        Mask { width: rows[0].len(), height: rows.len(), pixels }
    }

    #[test]
    fn diagonal_neighbours_are_connected() {
        let found = connected_components(&mask(&["#...", ".#..", "...#"]), 0);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].area, 2);
        assert_eq!(found[0].bbox, BBox::new(0.0, 0.0, 2.0, 2.0));
        assert_eq!(found[1].bbox, BBox::new(3.0, 2.0, 4.0, 3.0));
    }

    #[test]
    fn a_region_of_exactly_the_minimum_is_removed() {
        assert!(connected_components(&mask(&["##..", "##.."]), 4).is_empty());
        assert_eq!(connected_components(&mask(&["##..", "##.."]), 3).len(), 1);
    }
}
