//! Whole files broken at random.

use groundglass::inference::manifest::Manifest;
use groundglass::network::StateDict;

use crate::attack::*;
use crate::samples::*;

#[test]
fn broken_dicom_files_of_every_transfer_syntax_are_refused_without_a_panic() {
    for (name, bytes, _) in syntaxes() {
        attack_slices(name, &bytes);
    }
}

#[test]
fn broken_pictures_are_refused_without_a_panic() {
    attack_slices("png", &png());
    attack_slices("jpeg", &jpeg());
}

#[test]
fn broken_dicom_files_are_refused_without_a_panic() {
    attack_slices("dicom", &dicom(16));
}

#[test]
fn broken_volumes_are_refused_without_a_panic() {
    attack_slices("nifti", &nifti());
    attack_slices("nifti.gz", &gzip(&nifti()));
}

#[test]
fn broken_archives_are_refused_without_a_panic() {
    attack_slices("zip", &zip_archive());
}

#[test]
fn broken_weights_and_manifests_are_refused_without_a_panic() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read(root.join("models/manifest.json")).unwrap();
    attack("manifest", &manifest, |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = Manifest::parse(text);
        }
    });
    // A small container: the header is what is believed too easily.
    let mut state = StateDict::default();
    let values = (0..24).map(|i| i as f32).collect();
    let parameter = groundglass::network::weights::Parameter { shape: vec![2, 3, 4], values };
    state.tensors.insert("backbone.body.conv1.weight".into(), parameter);
    attack("bpk", &state.to_pack().unwrap(), |bytes| {
        let _ = StateDict::from_bytes(bytes);
    });
}
