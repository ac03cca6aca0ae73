//! Weights that are damaged, unknown, or there already.

use std::collections::BTreeMap;

use crate::site::Site;
use crate::visitor::{Visitor, WebGpu};
use crate::{SOON, default_weights, ready_on_cpu, repository};

pub async fn damaged_weights() {
    let file = default_weights();
    let mut bytes = std::fs::read(repository().join("models").join(&file)).expect("the weights");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let site = Site::serve(BTreeMap::from([(format!("models/{file}"), bytes)]));
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("")).await;
    visitor.wait_for("The model cannot be used", SOON).await;
    let alert = visitor.alert().await.expect("an alert");
    assert!(alert.contains(&file) && alert.contains("SHA-256"), "{alert}");
    visitor.picture("damaged-weights").await;
    visitor.leave().await;
}

pub async fn an_unknown_model() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("?model=resnet99")).await;
    visitor.wait_for("unknown model `resnet99`", SOON).await;
    visitor.leave().await;
}

pub async fn cached_weights() {
    let site = Site::serve(BTreeMap::new());
    let file = format!("models/{}", default_weights());
    let visitor = ready_on_cpu(&site).await;
    assert_eq!(site.requests(&file), 1);
    visitor.open(&site.url("?device=cpu&again")).await;
    visitor.wait_for("Ready.", SOON).await;
    assert_eq!(site.requests(&file), 1);
    visitor.leave().await;
}
