//! Whose fault is it when a container does not start: the bundle's or the machine's?

use bollard::errors::Error;

use crate::runtime::StartError;

pub fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

pub fn is_conflict(error: &Error) -> bool {
    status(error) == Some(409)
}

fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Sorts a failure of creating or starting a container.
pub fn classify(error: &Error) -> StartError {
    let Error::DockerResponseServerError { status_code, message } = error else {
        return StartError::Machine(format!("Unable to start Docker container: {error}"));
    };
    let text = format!("Unable to start Docker container: {message}");
    if bundles_fault(*status_code, message) {
        StartError::Bundle(text)
    } else {
        StartError::Machine(text)
    }
}

/// Failures that would come back at every attempt: bad image reference, no bash in the image, impossible mounts or
/// limits. Everything about the daemon, its storage and its networks is not among them.
fn bundles_fault(status: u16, message: &str) -> bool {
    const MACHINE: [&str; 6] = [
        "no space left",
        "network",
        "device or resource busy: unknown",
        "too many open files",
        "cannot allocate memory",
        "nvidia-container-cli: initialization error",
    ];
    let lower = message.to_lowercase();
    // Too small a memory limit to start anything.
    if lower.contains("memory.limit_in_bytes: device or resource busy")
        || lower.contains("memory.max: device or resource busy")
    {
        return true;
    }
    if MACHINE.iter().any(|sign| lower.contains(sign)) {
        return false;
    }
    matches!(status, 400 | 404)
        || lower.contains("oci runtime create failed")
        || lower.contains("runtime create failed")
        || lower.contains("minimum memory limit")
        || lower.contains("invalid reference format")
        || lower.contains("could not select device driver")
        || lower.contains("unknown runtime")
        || lower.contains("duplicate mount point")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_sorted_by_who_can_mend_them() {
        let missing_bash = "failed to create shim: OCI runtime create failed: container_linux.go:380: starting container \
                            process caused: exec: \"/bin/bash\": stat /bin/bash: no such file or directory: unknown";
        let old_cuda = "OCI runtime create failed: x stderr: nvidia-container-cli: mount error: file creation failed: \
                        /var/lib/docker/overlay2/1/merged/usr/bin/nvidia-smi: file exists: unknown";
        let small =
            "OCI runtime create failed: failed to write 6000000: write memory.limit_in_bytes: device or resource busy";
        for (status, message, bundle) in [
            (500, missing_bash, true),
            (500, old_cuda, true),
            (500, small, true),
            (400, "Minimum memory limit allowed is 6MB", true),
            (404, "No such image: nothing:latest", true),
            (400, "invalid reference format", true),
            (404, "network codalab_worker_network_ext not found", false),
            (500, "write /var/lib/docker/tmp: no space left on device", false),
            (
                500,
                "failed to create endpoint x on network y: adding interface failed",
                false,
            ),
            (500, "dial unix /run/containerd/containerd.sock: timeout", false),
        ] {
            assert_eq!(bundles_fault(status, message), bundle, "{message}");
        }
    }
}
