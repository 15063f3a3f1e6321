//! What a staged run asks for: stored fields → numbers, defaults from quota and limits, and the reasons to refuse.

use domain::config::WorkerLimits;
use domain::run::{DEFAULT_MEMORY, RunResources};
use domain::{Metadata, duration, size};

/// Disk quota that is kept back when a run asks for a certain amount.
const DISK_RESERVE: i64 = 512 << 20;
const LEAST_DEFAULT_DISK: i64 = 1 << 20;
const NO_IMAGE: &str = "No Docker image specified and no default image configured.";

/// What the owner has left. Bytes and seconds; not above zero means used up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuotaLeft {
    pub disk: i64,
    pub time: f64,
}

/// The `request_*` fields as stored; absent fields have their zero value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestFields {
    pub cpus: i64,
    pub gpus: i64,
    pub memory: String,
    pub disk: String,
    pub time: String,
    pub docker_image: String,
    pub queue: String,
    pub network: bool,
    pub priority: i64,
}

impl RequestFields {
    /// Reads the fields from the metadata of a run.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let text = |key| metadata.str(key).trim().to_owned();
        Self {
            cpus: metadata.int("request_cpus"),
            gpus: metadata.int("request_gpus"),
            memory: text("request_memory"),
            disk: text("request_disk"),
            time: text("request_time"),
            docker_image: text("request_docker_image"),
            queue: text("request_queue"),
            network: metadata.bool("request_network"),
            priority: metadata.int("request_priority"),
        }
    }

    /// CPUs, GPUs, memory and disk that a run holds on its worker; what cannot be read counts as nothing.
    pub fn held(&self) -> Held {
        Held {
            cpus: if self.cpus <= 0 { 1 } else { self.cpus },
            gpus: self.gpus.max(0),
            memory: parse_size_or(&self.memory, DEFAULT_MEMORY).unwrap_or(0),
            disk: parse_size_or(&self.disk, 0).unwrap_or(0),
        }
    }
}

/// Resources that an assigned run takes away from its worker. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub cpus: i64,
    pub gpus: i64,
    pub memory: i64,
    /// As requested; 0 when nothing was.
    pub disk: i64,
}

/// What a run asks for, with gaps filled, or the failure message with which it can never run.
pub fn resolve(fields: &RequestFields, left: QuotaLeft, limits: &WorkerLimits) -> Result<RunResources, String> {
    let cpus = if fields.cpus <= 0 { 1 } else { fields.cpus };
    let gpus = fields.gpus.max(0);
    let memory = parse_size_or(&fields.memory, DEFAULT_MEMORY)?;
    let disk = if fields.disk.is_empty() {
        None
    } else {
        Some(parse_size_or(&fields.disk, 0)?)
    };
    let time = if fields.time.is_empty() {
        None
    } else {
        Some(parse_duration(&fields.time)?)
    };
    let mut reasons = Vec::new();
    reasons.extend(disk_reason(disk, left.disk, limits.max_request_disk));
    reasons.extend(time_reason(time, left.time, limits.max_request_time));
    reasons.extend(memory_reason(memory, limits));
    if !reasons.is_empty() {
        return Err(reasons.join(". "));
    }
    let default_disk = if limits.max_request_disk > 0 {
        (left.disk - DISK_RESERVE)
            .min(limits.max_request_disk)
            .max(LEAST_DEFAULT_DISK)
    } else {
        0
    };
    let default_time = if limits.max_request_time > 0.0 {
        (left.time - 1.0).min(limits.max_request_time).max(1.0)
    } else {
        0.0
    };
    Ok(RunResources {
        cpus,
        gpus,
        memory,
        disk: disk.unwrap_or(default_disk),
        // Rounded up: half a second must not become 0, which means no limit.
        time: time.unwrap_or(default_time).ceil() as i64,
        docker_image: image(&fields.docker_image, gpus, limits)?,
        tag: fields.queue.clone(),
        network: fields.network,
        tag_exclusive: false,
        runs_left: None,
    })
}

fn image(requested: &str, gpus: i64, limits: &WorkerLimits) -> Result<String, String> {
    let default = if gpus > 0 {
        &limits.default_gpu_image
    } else {
        &limits.default_cpu_image
    };
    let image = if requested.is_empty() {
        default.as_str()
    } else {
        requested
    };
    match image {
        "" => Err(NO_IMAGE.to_owned()),
        image if image.contains(':') => Ok(image.to_owned()),
        image => Ok(format!("{image}:latest")),
    }
}

fn disk_reason(requested: Option<i64>, left: i64, max: i64) -> Option<String> {
    let value = requested.unwrap_or(0);
    let available = left - DISK_RESERVE;
    if left <= 0 || (value > 0 && value > available) {
        let excess = (value - available).max(0);
        return Some(format!(
            "Requested more disk ({}) than the user's disk quota allows: {} left, {} too much",
            show_size(value),
            show_size(left),
            show_size(excess)
        ));
    }
    (max > 0 && value > max).then(|| {
        format!(
            "Maximum job disk size ({}) exceeded ({})",
            show_size(max),
            show_size(value)
        )
    })
}

fn time_reason(requested: Option<f64>, left: f64, max: f64) -> Option<String> {
    let value = requested.unwrap_or(0.0);
    if left <= 0.0 || (value > 0.0 && value > left) {
        return Some(format!(
            "Requested more time ({}) than the user's time quota allows: {} left, {} too much",
            duration::format(value),
            duration::format(left),
            duration::format(value - left)
        ));
    }
    (max > 0.0 && value > max).then(|| {
        format!(
            "Maximum job time ({}) exceeded ({})",
            duration::format(max),
            duration::format(value)
        )
    })
}

fn memory_reason(value: i64, limits: &WorkerLimits) -> Option<String> {
    if value == 0 {
        return None;
    }
    if limits.max_request_memory > 0 && value > limits.max_request_memory {
        let (limit, excess) = (
            show_size(limits.max_request_memory),
            show_size(value - limits.max_request_memory),
        );
        let value = show_size(value);
        return Some(format!(
            "Requested more memory ({value}) than the upper limit ({limit}), {excess} too much"
        ));
    }
    if value < limits.min_request_memory {
        let (limit, shortfall) = (
            show_size(limits.min_request_memory),
            show_size(limits.min_request_memory - value),
        );
        let value = show_size(value);
        return Some(format!(
            "Requested less memory ({value}) than the lower limit ({limit}), {shortfall} too little"
        ));
    }
    None
}

fn show_size(bytes: i64) -> String {
    size::format(bytes.max(0) as f64)
}

/// A stored size, or `default` for an empty one; negative sizes are refused, as 0 means "no limit" further down.
fn parse_size_or(text: &str, default: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(default);
    }
    match size::parse(text) {
        Ok(value) if value >= 0 => Ok(value),
        Ok(_) => Err(format!("Invalid size: {text}, expected a number that is not negative")),
        Err(error) => Err(error.message),
    }
}

fn parse_duration(text: &str) -> Result<f64, String> {
    match duration::parse(text) {
        Ok(value) if value >= 0.0 => Ok(value),
        Ok(_) => Err(format!(
            "Invalid duration: {text}, expected a number that is not negative"
        )),
        Err(error) => Err(error.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;
    const PLENTY: QuotaLeft = QuotaLeft {
        disk: 1000 * GIB,
        time: 1e7,
    };

    fn limits() -> WorkerLimits {
        WorkerLimits {
            default_cpu_image: "cpu".into(),
            default_gpu_image: "gpu:7".into(),
            ..WorkerLimits::default()
        }
    }

    fn resolved(fields: &RequestFields) -> RunResources {
        resolve(fields, PLENTY, &limits()).unwrap()
    }

    #[test]
    fn unset_fields_have_their_defaults_and_no_limit_where_none_is_configured() {
        let request = resolved(&RequestFields::default());
        let expected = RunResources {
            cpus: 1,
            memory: 2 * GIB,
            docker_image: "cpu:latest".into(),
            ..RunResources::default()
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn configured_maxima_become_defaults_within_the_quota_and_never_negative() {
        let limits = WorkerLimits {
            max_request_disk: 10 * GIB,
            max_request_time: 120.0,
            ..limits()
        };
        let cases = [
            (PLENTY, 10 * GIB, 120),
            (
                QuotaLeft {
                    disk: 2 * GIB,
                    time: 61.0,
                },
                3 * GIB / 2,
                60,
            ),
            (QuotaLeft { disk: 1, time: 0.5 }, 1 << 20, 1),
        ];
        for (left, disk, time) in cases {
            let request = resolve(&RequestFields::default(), left, &limits).unwrap();
            assert_eq!((request.disk, request.time), (disk, time), "{left:?}");
        }
    }

    #[test]
    fn zero_is_a_set_value() {
        let fields = RequestFields {
            memory: "0".into(),
            time: "0".into(),
            disk: "0".into(),
            ..Default::default()
        };
        let limits = WorkerLimits {
            max_request_disk: GIB,
            max_request_time: 60.0,
            ..limits()
        };
        let request = resolve(&fields, PLENTY, &limits).unwrap();
        assert_eq!((request.memory, request.time, request.disk), (0, 0, 0));
    }

    #[test]
    fn the_image_depends_on_gpus_and_gets_a_tag() {
        let cases = [
            ("", 0, "cpu:latest"),
            ("", 1, "gpu:7"),
            ("python:3.9", 1, "python:3.9"),
            ("a/b", 0, "a/b:latest"),
        ];
        for (docker_image, gpus, expected) in cases {
            let fields = RequestFields {
                docker_image: docker_image.into(),
                gpus,
                ..Default::default()
            };
            assert_eq!(resolved(&fields).docker_image, expected);
        }
        let no_image = WorkerLimits {
            default_cpu_image: String::new(),
            ..limits()
        };
        let refused = resolve(&RequestFields::default(), PLENTY, &no_image);
        assert_eq!(refused.unwrap_err(), NO_IMAGE);
    }

    #[test]
    fn what_can_never_run_says_why() {
        let tight = WorkerLimits {
            max_request_disk: 10 * GIB,
            max_request_time: 120.0,
            max_request_memory: 4 * GIB,
            ..limits()
        };
        let poor = QuotaLeft {
            disk: 2 * GIB,
            time: 3600.0,
        };
        let fields = |memory: &str, disk: &str, time: &str| RequestFields {
            memory: memory.into(),
            disk: disk.into(),
            time: time.into(),
            ..Default::default()
        };
        let cases = [
            (
                fields("", "20g", ""),
                PLENTY,
                "Maximum job disk size (10g) exceeded (20g)",
            ),
            (fields("", "", "3m"), PLENTY, "Maximum job time (2m0s) exceeded (3m0s)"),
            (
                fields("8g", "", ""),
                PLENTY,
                "Requested more memory (8g) than the upper limit (4g), 4g too much",
            ),
            (
                fields("1m", "", ""),
                PLENTY,
                "Requested less memory (1m) than the lower limit (4m), 3m too little",
            ),
            (
                fields("", "2g", ""),
                poor,
                "Requested more disk (2g) than the user's disk quota allows: 2g left, 512m too much",
            ),
            (
                fields("", "", "2h"),
                poor,
                "Requested more time (2h0m) than the user's time quota allows: 1h0m left, 1h0m too much",
            ),
            (
                fields("8g", "20g", ""),
                PLENTY,
                "Maximum job disk size (10g) exceeded (20g). Requested more memory (8g) than the upper limit (4g), 4g too much",
            ),
        ];
        for (fields, left, expected) in cases {
            assert_eq!(resolve(&fields, left, &tight).unwrap_err(), expected);
        }
        for (disk, time, start) in [
            (0, 1.0, "Requested more disk"),
            (GIB, 0.0, "Requested more time"),
            (-1, -1.0, "Requested more disk"),
        ] {
            let refused = resolve(&RequestFields::default(), QuotaLeft { disk, time }, &tight).unwrap_err();
            assert!(refused.starts_with(start), "{refused}");
        }
        for bad in [fields("x", "", ""), fields("", "1q", ""), fields("-1", "", "")] {
            assert!(resolve(&bad, PLENTY, &tight).unwrap_err().starts_with("Invalid size: "));
        }
        assert!(
            resolve(&fields("", "", "soon"), PLENTY, &tight)
                .unwrap_err()
                .starts_with("Invalid duration: ")
        );
    }

    #[test]
    fn fractions_of_a_second_do_not_become_unlimited() {
        let fields = RequestFields {
            time: "0.5".into(),
            ..Default::default()
        };
        assert_eq!(resolved(&fields).time, 1);
    }

    #[test]
    fn fields_are_read_from_metadata_and_wrong_types_count_as_unset() {
        let metadata = serde_json::json!({
            "request_cpus": 4, "request_gpus": "many", "request_memory": "1g", "request_network": true, "request_priority": -2
        });
        let fields = RequestFields::from_metadata(&Metadata::try_from(metadata).unwrap());
        let expected = RequestFields {
            cpus: 4,
            memory: "1g".into(),
            network: true,
            priority: -2,
            ..Default::default()
        };
        assert_eq!(fields, expected);
        assert_eq!(
            fields.held(),
            Held {
                cpus: 4,
                gpus: 0,
                memory: GIB,
                disk: 0
            }
        );
        assert_eq!(RequestFields::default().held().cpus, 1);
    }
}
