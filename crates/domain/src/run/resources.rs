//! What a run asks for and what a worker offers, in one shape, and whether the one fits the other (data-model 13.3,
//! scheduler 6.4 and 6.7).

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::metadata::Metadata;
use crate::{duration, lenient, size};

/// Memory of a run that asks for none.
pub const DEFAULT_MEMORY: i64 = 2 << 30;

/// Resources of a run as sent to a worker, or the free capacity of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResources {
    /// CPUs.
    #[serde(default, deserialize_with = "lenient::int")]
    pub cpus: i64,
    /// GPUs.
    #[serde(default, deserialize_with = "lenient::int")]
    pub gpus: i64,
    /// Image to run in; empty for a worker.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub docker_image: String,
    /// Seconds; 0 means no limit.
    #[serde(default, deserialize_with = "lenient::int")]
    pub time: i64,
    /// Bytes.
    #[serde(default, deserialize_with = "lenient::int")]
    pub memory: i64,
    /// Bytes; 0 means no limit.
    #[serde(default, deserialize_with = "lenient::int")]
    pub disk: i64,
    /// Whether the network may be used.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub network: bool,
    /// Queue asked for or served; empty for none.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub tag: String,
    /// A worker that takes only runs asking for its tag.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub tag_exclusive: bool,
    /// Runs a worker will still accept; none means no limit.
    #[serde(default, deserialize_with = "lenient::optional_int")]
    pub runs_left: Option<i64>,
}

/// What fills the gaps of a request: the owner's quota left and the instance's settings. Seconds and bytes; 0 = no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestLimits<'a> {
    /// Seconds of the owner's quota that are left.
    pub time_left: f64,
    /// Bytes of the owner's quota that are left.
    pub disk_left: f64,
    /// Longest time that may be asked for.
    pub max_time: f64,
    /// Most disk that may be asked for.
    pub max_disk: i64,
    /// Image of runs that ask for none.
    pub default_cpu_image: &'a str,
    /// Image of runs that ask for none but for GPUs.
    pub default_gpu_image: &'a str,
}

impl RunResources {
    /// What a run asks for, with gaps filled. An error names a size or duration that does not parse.
    pub fn requested(metadata: &Metadata, limits: &RequestLimits<'_>) -> Result<Self> {
        let gpus = metadata.int("request_gpus").max(0);
        let cpus = metadata.int("request_cpus");
        let memory = match metadata.str("request_memory") {
            "" => DEFAULT_MEMORY,
            text => size::parse(text)?,
        };
        // Without a configured maximum the default is 0, no limit; the quota is enforced at every check-in.
        let disk = match metadata.str("request_disk") {
            "" => ((limits.disk_left - 1.0) as i64).min(limits.max_disk).max(0),
            text => size::parse(text)?,
        };
        let time = match metadata.str("request_time") {
            "" => (limits.time_left - 1.0).min(limits.max_time).max(0.0),
            text => duration::parse(text)?,
        };
        let image = match metadata.str("request_docker_image") {
            "" if gpus > 0 => limits.default_gpu_image,
            "" => limits.default_cpu_image,
            image => image,
        };
        Ok(Self {
            cpus: if cpus == 0 { 1 } else { cpus },
            gpus,
            docker_image: with_image_tag(image),
            time: time as i64,
            memory,
            disk,
            network: metadata.bool("request_network"),
            tag: metadata.str("request_queue").to_owned(),
            tag_exclusive: false,
            runs_left: None,
        })
    }

    /// Whether a worker with these free resources can take the request.
    pub fn dominates(&self, request: &Self) -> bool {
        self.accepts_tag(request)
            && self.runs_left != Some(0)
            && self.cpus >= request.cpus
            && self.gpus >= request.gpus
            && self.memory >= request.memory
            && self.disk >= request.disk
    }

    /// As [`Self::dominates`], with strictly more of each resource.
    pub fn strictly_dominates(&self, request: &Self) -> bool {
        self.accepts_tag(request)
            && self.runs_left != Some(0)
            && self.cpus > request.cpus
            && self.gpus > request.gpus
            && self.memory > request.memory
            && self.disk > request.disk
    }

    /// Whether the worker's queue is the one asked for, or is open to runs that ask for none.
    pub fn accepts_tag(&self, request: &Self) -> bool {
        match strip_tag(&request.tag) {
            "" => !(self.tag_exclusive && !self.tag.is_empty()),
            tag => tag == self.tag,
        }
    }

    /// What this worker lacks for the request, in brackets: `[No queue (x requested), 2 CPUs (4 requested)]`.
    pub fn shortfall(&self, request: &Self) -> String {
        let mut lacks = Vec::new();
        if !self.accepts_tag(request) {
            let tag = if self.tag.is_empty() { "No" } else { &self.tag };
            let wanted = if request.tag.is_empty() { "no tag" } else { &request.tag };
            lacks.push(format!("{tag} queue ({wanted} requested)"));
        }
        if self.cpus < request.cpus {
            lacks.push(format!("{} CPUs ({} requested)", self.cpus, request.cpus));
        }
        if self.gpus < request.gpus {
            lacks.push(format!("{} GPUs ({} requested)", self.gpus, request.gpus));
        }
        let sizes = |have: i64, want: i64| (size::format(have as f64), size::format(want as f64));
        if self.memory < request.memory {
            let (have, want) = sizes(self.memory, request.memory);
            lacks.push(format!("{have} memory ({want} requested)"));
        }
        if self.disk < request.disk {
            let (have, want) = sizes(self.disk, request.disk);
            lacks.push(format!("{have} disk ({want} requested)"));
        }
        format!("[{}]", lacks.join(", "))
    }
}

/// A requested queue without its optional `tag=`; `tag=` alone is kept and matches no real worker.
pub fn strip_tag(queue: &str) -> &str {
    queue
        .strip_prefix("tag=")
        .filter(|rest| !rest.is_empty())
        .unwrap_or(queue)
}

/// `:latest` is appended to an image without a colon.
fn with_image_tag(image: &str) -> String {
    if image.is_empty() || image.contains(':') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resources(cpus: i64, gpus: i64, memory: i64, disk: i64, tag: &str) -> RunResources {
        RunResources {
            cpus,
            gpus,
            memory,
            disk,
            tag: tag.into(),
            ..RunResources::default()
        }
    }

    #[test]
    fn a_worker_fits_when_nothing_is_short() {
        let request = resources(2, 0, 1024, 0, "");
        for (worker, fits) in [
            (resources(2, 0, 1024, 0, ""), true),
            (resources(1, 0, 1024, 0, ""), false),
            (resources(2, 0, 1023, 0, ""), false),
            (resources(4, 1, 4096, 9, "x"), true),
            (
                RunResources {
                    tag_exclusive: true,
                    ..resources(4, 1, 4096, 9, "x")
                },
                false,
            ),
            (
                RunResources {
                    tag_exclusive: true,
                    ..resources(4, 1, 4096, 9, "")
                },
                true,
            ),
            (
                RunResources {
                    runs_left: Some(0),
                    ..resources(4, 1, 4096, 9, "")
                },
                false,
            ),
        ] {
            assert_eq!(worker.dominates(&request), fits, "{worker:?}");
        }
        let tagged = resources(1, 0, 0, 0, "tag=x");
        assert!(resources(1, 0, 0, 0, "x").dominates(&tagged));
        assert!(!resources(1, 0, 0, 0, "y").dominates(&tagged));
        assert!(!resources(1, 0, 0, 0, "x").strictly_dominates(&tagged));
        assert!(!resources(1, 0, 0, 0, "").dominates(&resources(1, 0, 0, 0, "tag=")));
    }

    #[test]
    fn a_shortfall_lists_only_what_is_missing() {
        let worker = resources(2, 0, 2 << 30, 1 << 30, "");
        let request = resources(4, 1, 4 << 30, 2 << 30, "bigmem");
        assert_eq!(
            worker.shortfall(&request),
            "[No queue (bigmem requested), 2 CPUs (4 requested), 0 GPUs (1 requested), 2g memory (4g requested), 1g disk (2g requested)]"
        );
        assert_eq!(worker.shortfall(&resources(1, 0, 0, 0, "")), "[]");
    }

    #[test]
    fn gaps_of_a_request_are_filled() {
        let limits = RequestLimits {
            time_left: 101.0,
            disk_left: 51.0,
            max_time: 1000.0,
            max_disk: 20,
            default_cpu_image: "cpu",
            default_gpu_image: "gpu:1",
        };
        let empty = Metadata::try_from(json!({"request_memory": ""})).unwrap();
        let asked = RunResources::requested(&empty, &limits).unwrap();
        assert_eq!(
            (asked.cpus, asked.time, asked.disk, asked.memory),
            (1, 100, 20, DEFAULT_MEMORY)
        );
        assert_eq!(asked.docker_image, "cpu:latest");
        let full = Metadata::try_from(json!({
            "request_gpus": 1, "request_memory": "0", "request_disk": "1k", "request_time": "1m", "request_network": true,
            "request_queue": "q",
        }))
        .unwrap();
        let asked = RunResources::requested(
            &full,
            &RequestLimits {
                max_time: 0.0,
                ..limits
            },
        )
        .unwrap();
        assert_eq!((asked.gpus, asked.time, asked.disk, asked.memory), (1, 60, 1024, 0));
        assert_eq!(
            (asked.docker_image.as_str(), asked.tag.as_str(), asked.network),
            ("gpu:1", "q", true)
        );
        let unlimited = RequestLimits {
            max_time: 0.0,
            max_disk: 0,
            ..limits
        };
        let asked = RunResources::requested(&empty, &unlimited).unwrap();
        assert_eq!((asked.time, asked.disk), (0, 0));
    }
}
