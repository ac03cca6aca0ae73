//! What leaves the program: pictures, masks, tables, a report to read. Nothing here knows where it goes.

pub mod coco;
pub mod csv;
pub mod html;
pub mod label_map;
pub mod nifti;
pub mod overlay;
