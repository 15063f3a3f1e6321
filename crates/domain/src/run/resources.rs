//! What a run asks for and what a worker offers, in one shape, and whether the one fits the other (data-model 13.3,
//! scheduler 6.4 and 6.7).

use serde::{Deserialize, Serialize};

use crate::{lenient, size};

/// Memory of a run that asks for none, in bytes.
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

impl RunResources {
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
            "" => !self.tag_exclusive || self.tag.is_empty(),
            tag => tag == self.tag,
        }
    }

    /// What this worker lacks for the request, in brackets: `[No queue (x requested), 2 CPUs (4 requested)]`.
    pub fn shortfall(&self, request: &Self) -> String {
        let mut lacks = Vec::new();
        if !self.accepts_tag(request) {
            let tag = if self.tag.is_empty() { "No" } else { &self.tag };
            lacks.push(match request.tag.as_str() {
                "" => "tag-exclusive worker".to_owned(),
                wanted => format!("{tag} queue ({wanted} requested)"),
            });
        }
        if self.runs_left == Some(0) {
            lacks.push("no runs left".to_owned());
        }
        if self.cpus < request.cpus {
            lacks.push(format!("{} CPUs ({} requested)", self.cpus.max(0), request.cpus));
        }
        if self.gpus < request.gpus {
            lacks.push(format!("{} GPUs ({} requested)", self.gpus.max(0), request.gpus));
        }
        let sizes = |have: i64, want: i64| (size::format(have.max(0) as f64), size::format(want as f64));
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let leaving = RunResources {
            runs_left: Some(0),
            tag_exclusive: true,
            ..resources(-1, 0, 0, 0, "x")
        };
        assert_eq!(
            leaving.shortfall(&resources(1, 0, 0, 0, "")),
            "[tag-exclusive worker, no runs left, 0 CPUs (1 requested)]"
        );
    }
}
