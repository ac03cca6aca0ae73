//! Slices with outlines in a COCO file, as `predict --coco` writes them and annotation tools export them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::classes::mask_value::{CONSOLIDATION, GROUND_GLASS};
use crate::dataset::instances::{Instance, LesionTargets};
use crate::dataset::{DatasetError, Listed, Listing, Skipped, reading};
use crate::detection::Mask;
use crate::detection::mask::connected_components::bounding_box;
use crate::detection::mask::rle::{Rle, RleError};
use crate::image::decode::MAX_SIDE;
use crate::image::{CtSlice, decode_slice};

#[derive(Debug, Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Debug, Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    #[serde(deserialize_with = "whole_number")]
    width: usize,
    #[serde(deserialize_with = "whole_number")]
    height: usize,
    /// Not COCO's own; some annotators add it.
    patient: Option<Patient>,
}

/// A name, or a number that is one.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Patient {
    Name(String),
    Number(u64),
}

/// A number of pixels, which some annotators write as `512.0`.
fn whole_number<'a, D: serde::Deserializer<'a>>(deserializer: D) -> Result<usize, D::Error> {
    let number = f64::deserialize(deserializer)?;
    match number.fract() == 0.0 && (0.0..=1e9).contains(&number) {
        true => Ok(number as usize),
        false => Err(serde::de::Error::custom(format!("{number} is no number of pixels"))),
    }
}

#[derive(Debug, Deserialize)]
struct Category {
    id: u64,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Annotation {
    id: u64,
    image_id: u64,
    category_id: u64,
    segmentation: Option<Segmentation>,
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<f64>>),
    Compressed(Rle),
    Counts { size: [usize; 2], counts: Vec<u32> },
}

/// A picture with its outlines.
#[derive(Clone, Debug)]
pub struct AnnotatedImage {
    /// The picture.
    path: PathBuf,
    /// Columns and rows that the COCO file says it has.
    size: (usize, usize),
    /// Value in the sense of a class mask, and the outline.
    outlines: Arc<Vec<(u8, Rle)>>,
}

/// The images of a COCO file with their annotations.
///
/// # Errors
/// If the file is no COCO file, an outline does not fit its image, or an image is not there.
pub fn list(path: &Path) -> Result<Listing<AnnotatedImage>, DatasetError> {
    let text = fs::read_to_string(path).map_err(reading(path, "a COCO file"))?;
    let wrong = |what: String| DatasetError::Contents { path: path.into(), what };
    let file: File =
        serde_json::from_str(&text).map_err(|e| wrong(format!("no COCO file: {e}")))?;
    let categories: BTreeMap<u64, &str> =
        file.categories.iter().map(|category| (category.id, category.name.as_str())).collect();
    let mut outlines: BTreeMap<u64, Vec<(u8, Rle)>> = BTreeMap::new();
    let images: BTreeMap<u64, &Image> = file.images.iter().map(|image| (image.id, image)).collect();
    if images.len() < file.images.len() {
        return Err(wrong("two images have the same id".into()));
    }
    let size = |image: &&Image| image.width.max(image.height) > MAX_SIDE;
    if let Some(image) = file.images.iter().find(size) {
        let (name, width, height) = (&image.file_name, image.width, image.height);
        return Err(wrong(format!("{name} is said to have {width}x{height} pixels")));
    }
    for annotation in &file.annotations {
        let Annotation { id, image_id, category_id, segmentation, iscrowd } = annotation;
        let wrong = |what: String| wrong(format!("annotation {id}: {what}"));
        let image =
            images.get(image_id).ok_or_else(|| wrong(format!("there is no image {image_id}")))?;
        let category = categories
            .get(category_id)
            .ok_or_else(|| wrong(format!("there is no category {category_id}")))?;
        let value = match value_of(category) {
            Some(value) => value,
            None if is_lung(category) => continue,
            None => {
                return Err(wrong(format!(
                    "the category `{category}` is unknown; known are names with `consolidation`, `ground glass`, `ggo`, `lesion` or `infection`"
                )));
            }
        };
        let segmentation = segmentation.as_ref().filter(|outline| !outline.is_empty());
        let segmentation = segmentation.ok_or_else(|| {
            wrong("it has no outline; a box alone does not say which pixels are lesion".into())
        })?;
        // Some annotators write every mask that is no polygon as a crowd.
        if *iscrowd != 0 && matches!(segmentation, Segmentation::Polygons(_)) {
            return Err(wrong(
                "it is a crowd of polygons; give each lesion its own outline".into(),
            ));
        }
        let rle = segmentation
            .rle((image.width, image.height))
            .map_err(|error| wrong(error.to_string()))?;
        outlines.entry(*image_id).or_default().push((value, rle));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut files = Vec::with_capacity(file.images.len());
    let mut names = BTreeSet::new();
    for image in &file.images {
        if !names.insert(&image.file_name) {
            return Err(wrong(format!("the image {} is listed twice", image.file_name)));
        }
        // `predict --coco` names files as it was given them.
        let name = Path::new(&image.file_name);
        let picture = [folder.join(name), folder.join("images").join(name), name.to_path_buf()]
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| {
                let of_volume = [".nii#", ".nii.gz#"].iter().any(|end| image.file_name.contains(end));
                let hint = if of_volume {
                    ": it is a slice of a volume, which is trained on with its labels (`imagesTr`, `labelsTr`; `predict --nifti` writes labels)"
                } else {
                    ""
                };
                wrong(format!("the image {} is not there{hint}", image.file_name))
            })?;
        let stem = picture.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let patient = match image.patient.clone() {
            Some(Patient::Name(name)) => name,
            Some(Patient::Number(number)) => number.to_string(),
            None => stem.split('_').next().unwrap_or(&stem).to_owned(),
        };
        let outlines = Arc::new(outlines.remove(&image.id).unwrap_or_default());
        let size = (image.width, image.height);
        let place = AnnotatedImage { path: picture, size, outlines };
        files.push(Listed { stem, patient, place });
    }
    files.sort_by(|a, b| a.stem.cmp(&b.stem));
    Ok((files, Vec::new()))
}

/// What a category stands for in a class mask.
fn value_of(name: &str) -> Option<u8> {
    let name = name.to_lowercase().replace(['_', '-'], " ");
    let says = |word: &str| name.contains(word);
    if says("consolidation") {
        Some(CONSOLIDATION)
    } else if ["ground glass", "ggo", "lesion", "infection"].into_iter().any(says) {
        Some(GROUND_GLASS)
    } else {
        None
    }
}

/// Whether a category is of lungs and nothing else, whose outline says nothing of lesions.
fn is_lung(name: &str) -> bool {
    const SIDES: [&str; 5] = ["left", "right", "both", "mask", ""];
    let name = name.to_lowercase();
    let (lung, other): (Vec<&str>, Vec<&str>) = name
        .split(|letter: char| !letter.is_alphabetic())
        .partition(|word| ["lung", "lungs"].contains(word));
    !lung.is_empty() && other.iter().all(|word| SIDES.contains(word))
}

/// Why an outline cannot be drawn.
#[derive(Debug, Error)]
enum OutlineError {
    /// Run lengths of another size.
    #[error("its mask has {}x{} pixels, its image {}x{}", mask.0, mask.1, image.0, image.1)]
    Size { mask: (usize, usize), image: (usize, usize) },
    /// Too few numbers, or an odd one.
    #[error("a polygon of {0} numbers")]
    Numbers(usize),
    /// A point beside the picture.
    #[error("the point ({x}, {y}) of a polygon lies outside the image of {}x{}", image.0, image.1)]
    Outside { x: f64, y: f64, image: (usize, usize) },
    /// Counts or polygons that hotcoco refuses.
    #[error("{0}")]
    Unreadable(String),
    /// Run lengths that do not fill the image.
    #[error(transparent)]
    Rle(#[from] RleError),
    /// Less than a pixel.
    #[error("its outline covers no pixel; remove it")]
    Empty,
}

impl Segmentation {
    /// Whether it is a list of no polygons.
    fn is_empty(&self) -> bool {
        matches!(self, Self::Polygons(polygons) if polygons.is_empty())
    }

    /// The outline as run lengths of an image of this size.
    fn rle(&self, (width, height): (usize, usize)) -> Result<Rle, OutlineError> {
        let fits = |size: &[usize; 2]| {
            if *size == [height, width] {
                return Ok(());
            }
            let [rows, columns] = *size;
            Err(OutlineError::Size { mask: (columns, rows), image: (width, height) })
        };
        let (rows, columns) = (height as u32, width as u32);
        let packed = |rle: &hotcoco::Rle| {
            let counts = hotcoco::mask::rle_to_string(rle);
            Rle { size: [height, width], counts }
        };
        let rle = match self {
            Self::Compressed(rle) => {
                fits(&rle.size)?;
                rle.clone()
            }
            Self::Counts { size, counts } => {
                fits(size)?;
                hotcoco::mask::check_counts(counts, rows, columns)
                    .map_err(|error| OutlineError::Unreadable(error.to_string()))?;
                packed(&hotcoco::Rle { h: rows, w: columns, counts: counts.clone() })
            }
            Self::Polygons(polygons) => {
                let outside = |point: &[f64]| {
                    !(0.0..=width as f64).contains(&point[0])
                        || !(0.0..=height as f64).contains(&point[1])
                };
                for polygon in polygons {
                    if polygon.len() < 6 || polygon.len() % 2 == 1 {
                        return Err(OutlineError::Numbers(polygon.len()));
                    }
                    if let Some(point) = polygon.chunks_exact(2).find(|point| outside(point)) {
                        let [x, y] = [point[0], point[1]];
                        return Err(OutlineError::Outside { x, y, image: (width, height) });
                    }
                }
                let rle = hotcoco::mask::fr_polys(polygons, rows, columns)
                    .map_err(|error| OutlineError::Unreadable(error.to_string()))?;
                packed(&rle)
            }
        };
        // Run lengths that do not fill the image are found here.
        let is_empty = rle.decode()?.area() == 0;
        match self {
            // A slip of the hand; run lengths of nothing are what a program found no pixel of.
            Self::Polygons(_) if is_empty => Err(OutlineError::Empty),
            _ => Ok(rle),
        }
    }
}

impl AnnotatedImage {
    /// The picture and what is outlined on it.
    ///
    /// # Errors
    /// If the picture is unusable or of another size than the COCO file says.
    pub fn read(
        &self,
        classes: LesionTargets,
        digest: &mut Sha256,
    ) -> Result<(CtSlice, Vec<Instance>), Skipped> {
        let failed = |reason: String| Skipped { path: self.path.clone(), reason };
        let bytes = fs::read(&self.path).map_err(|error| failed(error.to_string()))?;
        digest.update(&bytes);
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let slice = decode_slice(&name, &bytes, None).map_err(|error| failed(error.to_string()))?;
        if (slice.width, slice.height) != self.size {
            let (width, height) = self.size;
            return Err(failed(format!(
                "the picture has {}x{} pixels, the COCO file says {width}x{height}",
                slice.width, slice.height
            )));
        }
        let mut drawn = Vec::with_capacity(self.outlines.len());
        for (value, rle) in self.outlines.iter() {
            digest.update([*value]);
            digest.update(rle.counts.as_bytes());
            let class = classes.class_of(*value);
            let mask: Mask = rle.decode().map_err(|error| failed(error.to_string()))?;
            if let Some(bbox) = bounding_box(&mask).filter(|_| class > 0) {
                drawn.push(Instance { class, bbox, mask });
            }
        }
        Ok((slice, drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(annotation: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let picture = image::GrayImage::from_pixel(64, 48, image::Luma([90]));
        picture.save(folder.path().join("7_1.png")).unwrap();
        let text = format!(
            r#"{{"images": [{{"id": 3, "file_name": "7_1.png", "width": 64, "height": 48}}],
                "categories": [{{"id": 1, "name": "Ground-glass opacity"}}, {{"id": 2, "name": "consolidation"}},
                    {{"id": 3, "name": "Left lung"}}, {{"id": 4, "name": "Lung Opacity"}}],
                "annotations": [{{"id": 9, "image_id": 3, {annotation}}}]}}"#
        );
        let path = folder.path().join("coco.json");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn drawn(annotation: &str) -> Vec<Instance> {
        let (_folder, path) = write(annotation);
        let (files, _) = list(&path).unwrap();
        assert_eq!((files[0].stem.as_str(), files[0].patient.as_str()), ("7_1", "7"));
        files[0].place.read(LesionTargets::Both, &mut Sha256::new()).unwrap().1
    }

    #[test]
    fn polygons_and_run_lengths_outline_the_same() {
        let polygon = r#""category_id": 2, "segmentation": [[10, 8, 30, 8, 30, 20, 10, 20]]"#;
        let found = drawn(polygon);
        assert_eq!((found[0].class, found[0].mask.area()), (2, 240));
        let counts: Vec<String> = (0..20).map(|_| "12, 36".to_owned()).collect();
        let runs = format!("488, {}", counts.join(", "));
        let last = 64 * 48 - 488 - 20 * 48 + 36;
        let runs = runs.rsplit_once(", 36").map(|(head, _)| format!("{head}, {last}")).unwrap();
        let rle = format!(
            r#""category_id": 1, "segmentation": {{"size": [48, 64], "counts": [{runs}]}}"#
        );
        let same = drawn(&rle);
        assert_eq!((same[0].class, &same[0].mask), (1, &found[0].mask));
        let text = Rle::encode(&found[0].mask).counts.replace('\\', "\\\\");
        let packed = format!(
            r#""category_id": 1, "segmentation": {{"size": [48, 64], "counts": "{text}"}}"#
        );
        assert_eq!(drawn(&packed)[0].mask, found[0].mask);
        // What `predict` found no pixel of.
        let nothing = r#""category_id": 1, "segmentation": {"size": [48, 64], "counts": [3072]}"#;
        assert!(drawn(nothing).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (annotation, message) in [
            (r#""category_id": 1, "segmentation": [[10, 8, 70, 8, 30, 20]]"#, "(70, 8)"),
            (r#""category_id": 1, "segmentation": [[10, 8, 7, 8]]"#, "a polygon of 4 numbers"),
            (r#""category_id": 5, "segmentation": [[1, 1, 5, 1, 5, 5]]"#, "no category 5"),
            (
                r#""category_id": 1, "segmentation": {"size": [64, 48], "counts": "0"}"#,
                "48x64 pixels, its image 64x48",
            ),
            (
                r#""category_id": 1, "segmentation": {"size": [48, 64], "counts": [5, 5]}"#,
                "annotation 9",
            ),
            (r#""category_id": 1"#, "no outline"),
            (r#""category_id": 1, "segmentation": []"#, "no outline"),
            (r#""category_id": 1, "segmentation": [[10, 8, 10, 8, 10, 8]]"#, "covers no pixel"),
            (
                r#""category_id": 4, "segmentation": [[1, 1, 5, 1, 5, 5]]"#,
                "`Lung Opacity` is unknown",
            ),
            (
                r#""category_id": 1, "iscrowd": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]"#,
                "a crowd of polygons",
            ),
        ] {
            let (_folder, path) = write(annotation);
            let error = list(&path).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let (folder, path) = write(r#""category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]"#);
        fs::remove_file(folder.path().join("7_1.png")).unwrap();
        assert!(list(&path).unwrap_err().to_string().contains("7_1.png is not there"));
    }

    #[test]
    fn what_annotators_write_beside_the_format_is_read() {
        let (_folder, path) =
            write(r#""category_id": 1, "segmentation": [[10, 8, 30, 8, 30, 20]]"#);
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replace(r#""width": 64"#, r#""width": 64.0, "patient": 12"#).replace(
            r#""annotations": ["#,
            r#""annotations": [{"id": 8, "image_id": 3, "category_id": 3, "segmentation": []},"#,
        );
        fs::write(&path, &changed).unwrap();
        let (files, _) = list(&path).unwrap();
        let found = files[0].place.read(LesionTargets::Both, &mut Sha256::new()).unwrap().1;
        assert_eq!((files[0].patient.as_str(), found.len()), ("12", 1));
        let text = Rle::encode(&found[0].mask).counts.replace('\\', "\\\\");
        let crowd = format!(
            r#""category_id": 1, "iscrowd": 1, "segmentation": {{"size": [48, 64], "counts": "{text}"}}"#
        );
        assert_eq!(drawn(&crowd)[0].mask, found[0].mask);
    }

    #[test]
    fn an_image_listed_twice_and_a_slice_of_a_volume_are_refused() {
        let (_folder, path) = write(r#""category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]"#);
        let text = fs::read_to_string(&path).unwrap();
        let image = r#"{"id": 3, "file_name": "7_1.png", "width": 64, "height": 48}"#;
        let twice = text.replace(image, &format!("{image}, {}", image.replace("3,", "4,")));
        fs::write(&path, twice).unwrap();
        let error = list(&path).unwrap_err().to_string();
        assert!(error.contains("7_1.png is listed twice"), "{error}");
        fs::write(&path, text.replace("7_1.png", "v.nii.gz#1")).unwrap();
        let error = list(&path).unwrap_err().to_string();
        assert!(error.contains("imagesTr"), "{error}");
    }
}
