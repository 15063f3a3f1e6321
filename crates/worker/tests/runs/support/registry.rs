//! An image registry with one image of one layer, as the engine accepts it on the loopback without TLS.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

struct Image {
    manifest: Vec<u8>,
    blobs: Vec<Vec<u8>>,
}

/// Serves the image; gives its name and its digest.
pub async fn start() -> (String, String) {
    let mut tar = tar::Builder::new(Vec::new());
    let body: Vec<u8> = std::iter::repeat_with(rand::random).take(2 << 20).collect();
    let mut header = tar::Header::new_gnu();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "noise", &body[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&tar).unwrap();
    let layer = packed.finish().unwrap();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(&tar)]}});
    let config = config.to_string().into_bytes();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": config.len(),
            "digest": digest(&config)},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": layer.len(),
            "digest": digest(&layer)}]})
    .to_string()
    .into_bytes();
    let image_digest = digest(&manifest);
    let image = Arc::new(Image {
        manifest,
        blobs: vec![config, layer],
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = format!("{}/codalab-test/pulled", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v2/", get(async || "{}"))
        .route("/v2/codalab-test/pulled/manifests/{reference}", get(manifest_of))
        .route("/v2/codalab-test/pulled/blobs/{digest}", get(blob))
        .with_state(image);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (name, image_digest)
}

async fn manifest_of(State(image): State<Arc<Image>>) -> Response {
    let headers = [
        ("content-type", MANIFEST.to_owned()),
        ("docker-content-digest", digest(&image.manifest)),
    ];
    (headers, image.manifest.clone()).into_response()
}

async fn blob(State(image): State<Arc<Image>>, Path(wanted): Path<String>) -> Response {
    match image.blobs.iter().find(|blob| digest(blob) == wanted) {
        Some(blob) => blob.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
