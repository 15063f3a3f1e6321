//! Who may know whom: the arrows between the crates of the workspace, and the few crates that alone may touch the database,
//! Docker or the terminal. ARCHITECTURE.md explains them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Crate and the workspace crates that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("api", &["domain"]),
    ("worksheet", &["domain"]),
    ("contents", &["domain"]),
    ("model", &["domain"]),
    ("storage", &["contents", "domain"]),
    ("client", &["api", "domain"]),
    ("hub", &["domain"]),
    ("startup", &["domain"]),
    (
        "rest-server",
        &[
            "api",
            "cl",
            "client",
            "domain",
            "hub",
            "model",
            "startup",
            "storage",
            "contents",
            "worksheet",
        ],
    ),
    ("bundle-manager", &["domain", "hub", "model", "startup", "storage"]),
    ("ws-server", &["hub", "domain", "startup"]),
    ("worker", &["api", "client", "contents", "domain"]),
    ("cl", &["api", "client", "contents", "worksheet", "domain"]),
    (
        "codalab-service",
        &[
            "api",
            "bundle-manager",
            "client",
            "contents",
            "domain",
            "hub",
            "model",
            "rest-server",
            "startup",
            "storage",
            "worker",
            "worksheet",
            "ws-server",
        ],
    ),
    ("testkit", &[]),
];

/// An outside crate and the only workspace crates that may use it directly, apart from tests.
const RESERVED: &[(&str, &[&str])] = &[("sqlx", &["model"]), ("bollard", &["worker"])];

/// Outside crates that mean input, output, a clock or randomness; none of them below `domain` or `worksheet`.
const IMPURE: &[&str] = &[
    "tokio",
    "sqlx",
    "reqwest",
    "axum",
    "hyper",
    "rand",
    "getrandom",
    "nix",
    "rustix",
    "tempfile",
    "walkdir",
    "bollard",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .other_options(vec!["--offline".into()])
        .exec()
        .expect("cargo metadata")
}

fn dependencies(package: &Package) -> BTreeSet<&str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .collect()
}

#[test]
fn crates_know_only_those_that_the_architecture_lets_them_know() {
    let metadata = metadata();
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let members: BTreeSet<&str> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        // The test crate may look at everything.
        if package.name.as_str() == "codalab-tests" {
            continue;
        }
        let Some(allowed) = arrows.get(package.name.as_str()) else {
            wrong.push(format!(
                "{}: a new crate needs a line in ARROWS and in ARCHITECTURE.md",
                package.name
            ));
            continue;
        };
        for dependency in dependencies(package) {
            if members.contains(dependency) && !allowed.contains(&dependency) {
                wrong.push(format!("{} must not depend on {dependency}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_database_and_docker_are_each_known_to_one_crate() {
    let metadata = metadata();
    for (outside, owners) in RESERVED {
        for package in metadata.workspace_packages() {
            let uses = dependencies(package).contains(outside);
            assert!(
                !uses || owners.contains(&package.name.as_str()),
                "{} must not depend on {outside}",
                package.name
            );
        }
    }
}

#[test]
fn the_test_kit_is_only_a_development_dependency() {
    for package in metadata().workspace_packages() {
        if package.name.as_str() != "codalab-tests" {
            assert!(
                !dependencies(package).contains("testkit"),
                "{} ships the test kit",
                package.name
            );
        }
    }
}

#[test]
fn the_pure_crates_do_no_input_or_output() {
    for package in metadata().workspace_packages() {
        if matches!(package.name.as_str(), "domain" | "worksheet") {
            for dependency in dependencies(package) {
                assert!(
                    !IMPURE.contains(&dependency),
                    "{} must not depend on {dependency}",
                    package.name
                );
            }
        }
    }
}

#[test]
fn only_the_two_programs_for_people_print_to_standard_output() {
    let printing = ["println!(", "print!("];
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        if matches!(package.name.as_str(), "cl" | "codalab-service" | "codalab-tests") {
            continue;
        }
        let directory = package
            .manifest_path
            .parent()
            .expect("a manifest lies in a directory")
            .join("src");
        for file in rust_files(directory.as_std_path()) {
            // Command lines of the server programs answer their operator.
            if file.ends_with("main.rs") || file.components().any(|part| part.as_os_str() == "bin") {
                continue;
            }
            let text = std::fs::read_to_string(&file).expect("a readable source file");
            for (number, line) in text.lines().enumerate() {
                let code = line.trim_start();
                let prints = printing
                    .iter()
                    .any(|call| code.starts_with(call) || code.contains(&format!(" {call}")));
                if prints && !code.starts_with("//") {
                    wrong.push(format!("{}:{}: {code}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
