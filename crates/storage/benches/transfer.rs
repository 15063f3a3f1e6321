//! How fast contents go in and out, beside what the system's own tools need for the same work on the same disk.
//! `cargo bench -p storage`; sizes in MiB can be given as the environment variable `BENCH_MIB` (default 1024).

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use contents::{PackOptions, SubPath};
use domain::Uuid;
use futures::StreamExt;
use storage::{ReceiveOptions, Storage, StorageOptions};
use tokio_util::io::ReaderStream;

const ROUNDS: usize = 3;

fn main() {
    let mib: usize = std::env::var("BENCH_MIB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1024);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let place = tempfile::tempdir_in(".").expect("a directory");
    let storage = Storage::open(&place.path().join("home"), StorageOptions::default()).expect("a store");
    println!("{:<44}{:>10}{:>12}{:>8}", "what", "seconds", "beside", "speed");

    let source = place.path().join("random");
    random_file(&source, mib);
    let copy = place.path().join("copy");
    let upload = || runtime.block_on(receive(&storage, &source, "random", 16 << 10));
    let reference = || {
        std::fs::copy(&source, &copy).expect("a copy");
        File::open(&copy).and_then(|file| file.sync_all()).expect("a sync");
        std::fs::remove_file(&copy).expect("a removal");
    };
    compare(&format!("upload {mib} MiB file / cp + fsync"), upload, reference);

    let tree = place.path().join("text");
    text_tree(&tree, 500, mib << 19);
    let archive = place.path().join("text.tar.gz");
    run(Command::new("tar")
        .arg("czf")
        .arg(&archive)
        .arg("-C")
        .arg(&tree)
        .arg("."));
    let out = place.path().join("out");
    let upload = || runtime.block_on(receive(&storage, &archive, "text.tar.gz", 16 << 10));
    let reference = || {
        std::fs::create_dir(&out).expect("a directory");
        run(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&out));
        run(Command::new("sync").arg("-f").arg(&out));
        std::fs::remove_dir_all(&out).expect("a removal");
    };
    compare("upload tree as tar.gz / tar xzf + sync", upload, reference);

    let bundle = Uuid::from_random([1; 16]);
    let download = || runtime.block_on(pack(&storage, &bundle));
    let reference = || {
        run(Command::new("sh")
            .arg("-c")
            .arg(format!("tar czf - -C '{}' . | cat > /dev/null", tree.display())));
    };
    compare("directory as tar.gz / tar czf", download, reference);
    println!("largest resident set: {}", peak_memory());
}

/// Runs both by turns and prints the medians. Speed: how many times as fast as the reference.
fn compare(what: &str, mut ours: impl FnMut(), mut reference: impl FnMut()) {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(timed(&mut ours));
        times[1].push(timed(&mut reference));
    }
    let [ours, reference] = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_secs_f64()
    });
    println!("{what:<44}{ours:>10.2}{reference:>12.2}{:>8.2}", reference / ours);
}

fn timed(work: &mut impl FnMut()) -> Duration {
    rustix::fs::sync();
    let start = Instant::now();
    work();
    start.elapsed()
}

async fn receive(storage: &Storage, source: &Path, filename: &str, chunk: usize) {
    let file = tokio::fs::File::open(source).await.expect("the source");
    let body = ReaderStream::with_capacity(file, chunk);
    let options = ReceiveOptions {
        filename: filename.into(),
        unpack: true,
        ..ReceiveOptions::default()
    };
    let bundle = Uuid::from_random([1; 16]);
    storage
        .receive(&bundle, body, options)
        .await
        .expect("an upload")
        .publish()
        .await
        .expect("a publication");
}

async fn pack(storage: &Storage, bundle: &Uuid) {
    let contents = storage.contents(bundle);
    let mut stream = contents
        .directory(&SubPath::root(), PackOptions::default())
        .await
        .expect("a stream");
    while let Some(chunk) = stream.next().await {
        chunk.expect("a chunk");
    }
}

fn random_file(path: &Path, mib: usize) {
    let mut random = File::open("/dev/urandom").expect("random bytes");
    let mut file = File::create(path).expect("a file");
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..mib {
        random.read_exact(&mut buffer).expect("random bytes");
        file.write_all(&buffer).expect("room");
    }
}

fn text_tree(root: &Path, files: usize, bytes: usize) {
    let words = [
        "bundle",
        "worksheet",
        "run",
        "worker",
        "target",
        "store",
        "alpha",
        "omega",
    ];
    for number in 0..files {
        let directory = root.join(format!("d{}", number % 20));
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut state = number as u64 + 1;
        let mut text = String::new();
        while text.len() < bytes / files {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(words[(state >> 60) as usize % words.len()]);
            text.push_str(&(state >> 40).to_string());
            text.push(' ');
        }
        std::fs::write(directory.join(number.to_string()), text).expect("a file");
    }
}

fn run(command: &mut Command) {
    assert!(command.status().expect("a program").success());
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
