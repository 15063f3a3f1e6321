//! THE table of metadata fields (data-model section 4.2). Command-line options, edit forms, REST validation, info
//! output and stored rows are all derived from it; nothing else lists fields.

use serde_json::{Value, json};

use crate::state::BundleType;

/// The JSON type of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Text.
    Str,
    /// Whole number.
    Int,
    /// Number.
    Float,
    /// True or false.
    Bool,
    /// List of texts.
    List,
}

impl FieldKind {
    /// The Python type name shown in errors and served as metadata type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Str => "str",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::List => "list",
        }
    }

    /// The value that an unset field of this type reads as.
    pub fn zero(self) -> Value {
        match self {
            Self::Str => json!(""),
            Self::Int => json!(0),
            Self::Float => json!(0.0),
            Self::Bool => json!(false),
            Self::List => json!([]),
        }
    }
}

/// How a number is displayed; for text fields, what the text must parse as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Unix seconds, shown as local date and time.
    Date,
    /// Bytes, shown as `1.5k`.
    Size,
    /// Seconds, shown as `1m40s`.
    Duration,
}

impl Format {
    /// The name served as metadata type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Size => "size",
            Self::Duration => "duration",
        }
    }
}

/// What a client sends when the user says nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldDefault {
    /// The zero value of the field's type.
    Zero,
    /// A text.
    Str(&'static str),
    /// A whole number.
    Int(i64),
    /// A flag.
    Bool(bool),
}

/// Declaration of one metadata field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// Key in the metadata object; the option is the key with dashes.
    pub key: &'static str,
    /// Type of the value.
    pub kind: FieldKind,
    /// Short meaning, a phrase without a full stop.
    pub meaning: &'static str,
    /// Written by the system only; no option, not editable.
    pub generated: bool,
    /// May be missing on creation.
    pub optional: bool,
    /// Shown only when asked for by name.
    pub hidden: bool,
    /// Editable only while the bundle is `created` or `staged`.
    pub locked: bool,
    /// Hide when the bundle is anonymous.
    pub anonymous: bool,
    /// Display format, or validation of a text.
    pub format: Option<Format>,
    /// Default that clients send.
    pub default: FieldDefault,
    /// One-letter option, without dash.
    pub short: Option<char>,
    /// Placeholder of the option's value when it is not the short option or key in capitals.
    pub metavar_override: Option<&'static str>,
}

impl Field {
    const fn new(key: &'static str, kind: FieldKind, meaning: &'static str) -> Self {
        Self {
            key,
            kind,
            meaning,
            generated: false,
            optional: false,
            hidden: false,
            locked: false,
            anonymous: false,
            format: None,
            default: FieldDefault::Zero,
            short: None,
            metavar_override: None,
        }
    }

    const fn generated(mut self) -> Self {
        self.generated = true;
        self
    }

    const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    const fn locked(mut self) -> Self {
        self.locked = true;
        self
    }

    const fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    const fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    const fn default(mut self, default: FieldDefault) -> Self {
        self.default = default;
        self
    }

    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn metavar_is(mut self, metavar: &'static str) -> Self {
        self.metavar_override = Some(metavar);
        self
    }

    /// The value a client sends when the user says nothing (`name` is then inferred instead).
    pub fn default_value(&self) -> Value {
        match self.default {
            FieldDefault::Zero => self.kind.zero(),
            FieldDefault::Str(text) => json!(text),
            FieldDefault::Int(number) => json!(number),
            FieldDefault::Bool(flag) => json!(flag),
        }
    }

    /// The long option without dashes in front: `request-cpus`.
    pub fn option_name(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The placeholder of the option's value: `N`, `TAG`, `REQUEST_CPUS`.
    pub fn metavar(&self) -> String {
        match (self.metavar_override, self.short) {
            (Some(metavar), _) => metavar.to_owned(),
            (None, Some(short)) => short.to_ascii_uppercase().to_string(),
            (None, None) => self.key.to_ascii_uppercase(),
        }
    }

    /// The text served and printed as the field's description: its meaning and its key.
    pub fn description(&self) -> String {
        format!("{} ({})", self.meaning, self.key)
    }

    /// The metadata type served to clients: the format's name for fields that are not text, else the type's name.
    pub const fn type_name(&self) -> &'static str {
        match self.format {
            Some(format) if !matches!(self.kind, FieldKind::Str) => format.as_str(),
            _ => self.kind.as_str(),
        }
    }
}

/// The fields of a bundle type, in display order. The private placeholder has only `name`.
pub fn fields(bundle_type: BundleType) -> &'static [Field] {
    match bundle_type {
        BundleType::Dataset | BundleType::Program => DATASET,
        BundleType::Make => MAKE,
        BundleType::Run => RUN,
        BundleType::Private => &DATASET[..1],
    }
}

/// The field of a key.
pub fn field(bundle_type: BundleType, key: &str) -> Option<&'static Field> {
    fields(bundle_type).iter().find(|field| field.key == key)
}

/// The field of a key in whichever type has it; for search keys that are not bound to a type.
pub fn any_field(key: &str) -> Option<&'static Field> {
    RUN.iter().chain(DATASET).chain(MAKE).find(|field| field.key == key)
}

const fn str(key: &'static str, meaning: &'static str) -> Field {
    Field::new(key, FieldKind::Str, meaning)
}

const fn int(key: &'static str, meaning: &'static str) -> Field {
    Field::new(key, FieldKind::Int, meaning)
}

const fn float(key: &'static str, meaning: &'static str) -> Field {
    Field::new(key, FieldKind::Float, meaning)
}

const fn bool(key: &'static str, meaning: &'static str) -> Field {
    Field::new(key, FieldKind::Bool, meaning)
}

const fn list(key: &'static str, meaning: &'static str) -> Field {
    Field::new(key, FieldKind::List, meaning)
}

const NAME: Field = str("name", "Short name; need not be unique").short('n');
const DESCRIPTION: Field = str("description", "Free text that describes the bundle").short('d');
const TAGS: Field = list("tags", "Labels to search for").metavar_is("TAG");
const CREATED: Field = int("created", "Time of creation").generated().format(Format::Date);
const DATA_SIZE: Field = int("data_size", "Size of the contents in bytes")
    .generated()
    .format(Format::Size);
const FAILURE_MESSAGE: Field = str("failure_message", "Why the bundle failed").generated();
const ERROR_TRACEBACK: Field = str("error_traceback", "Traceback of the failure on the server")
    .generated()
    .hidden();
const STORE: Field = str("store", "Name of the bundle store that takes the contents")
    .optional()
    .hidden();
const ALLOW_FAILED: Field = bool(
    "allow_failed_dependencies",
    "Start even if dependencies failed or were killed",
)
.locked()
.default(FieldDefault::Bool(false));
const STAGED_STATUS: Field = str("staged_status", "Why the bundle is still staged").generated();

static DATASET: &[Field] = &[
    NAME,
    DESCRIPTION,
    TAGS,
    CREATED,
    DATA_SIZE,
    FAILURE_MESSAGE,
    ERROR_TRACEBACK,
    str("license", "Licence of the contents"),
    str("source_url", "Where the contents were taken from"),
    str("link_url", "Path or URL of contents that stay outside the bundle store").optional(),
    str("link_format", "Format of linked contents: raw or zip; only raw works").optional(),
    STORE,
];

static MAKE: &[Field] = &[
    NAME,
    DESCRIPTION,
    TAGS,
    CREATED,
    DATA_SIZE,
    FAILURE_MESSAGE,
    ERROR_TRACEBACK,
    ALLOW_FAILED,
    STAGED_STATUS,
    STORE,
];

static RUN: &[Field] = &[
    NAME,
    DESCRIPTION,
    TAGS,
    CREATED,
    DATA_SIZE,
    FAILURE_MESSAGE,
    ERROR_TRACEBACK,
    ALLOW_FAILED,
    str("request_docker_image", "Docker image to run in: tag or digest")
        .locked()
        .anonymous(),
    str(
        "request_time",
        "Longest time to run, such as 3, 3s, 3m, 3h, 3d or 3y; empty: what is left of the time quota",
    )
    .locked()
    .format(Format::Duration),
    str("request_memory", "Memory to allow, such as 3, 3k, 3m, 3g or 3t")
        .locked()
        .format(Format::Size)
        .default(FieldDefault::Str("2g")),
    str(
        "request_disk",
        "Disk space to allow, such as 3, 3k, 3m, 3g or 3t; empty: what is left of the disk quota",
    )
    .locked()
    .format(Format::Size),
    int("request_cpus", "Number of CPUs")
        .locked()
        .default(FieldDefault::Int(1)),
    int("request_gpus", "Number of GPUs")
        .locked()
        .default(FieldDefault::Int(0)),
    str("request_queue", "Tag of the workers that may run it: tag=x or x")
        .locked()
        .anonymous(),
    int("request_priority", "Higher runs first; negative runs after unspecified").locked(),
    bool("request_network", "Whether the command may use the network")
        .locked()
        .default(FieldDefault::Bool(true)),
    float("cpu_usage", "Fraction of the CPUs in use").generated(),
    float("memory_usage", "Fraction of the memory limit in use").generated(),
    list("exclude_patterns", "Patterns of files that are not kept in the result").locked(),
    STORE.locked(),
    list("actions", "Actions that were performed on the run").generated(),
    float("time", "Wall-clock time of the command")
        .generated()
        .format(Format::Duration),
    float("time_user", "User CPU time of the command")
        .generated()
        .format(Format::Duration),
    float("time_system", "System CPU time of the command")
        .generated()
        .format(Format::Duration),
    float("memory", "Memory in use").generated().format(Format::Size),
    float("memory_max", "Most memory that was in use")
        .generated()
        .format(Format::Size),
    int("started", "When a worker accepted the run")
        .generated()
        .format(Format::Date),
    int("last_updated", "Time of the last news about the run")
        .generated()
        .format(Format::Date),
    str("run_status", "What the worker is doing").generated(),
    STAGED_STATUS,
    float("time_preparing", "Time spent preparing")
        .generated()
        .format(Format::Duration),
    float("time_running", "Time spent running")
        .generated()
        .format(Format::Duration),
    float("time_cleaning_up", "Time spent cleaning up")
        .generated()
        .format(Format::Duration),
    float("time_uploading_results", "Time spent uploading results")
        .generated()
        .format(Format::Duration),
    str("docker_image", "Digest of the image that was used")
        .generated()
        .anonymous(),
    int("exitcode", "Exit code of the command").generated(),
    str("job_handle", "Internal; not used").generated().anonymous(),
    str("remote", "Host of the worker").generated().anonymous(),
    list("remote_history", "Hosts of all workers that ran it, in order")
        .generated()
        .anonymous(),
    bool(
        "on_preemptible_worker",
        "Whether the worker may be taken away at any time",
    )
    .generated()
    .anonymous()
    .default(FieldDefault::Bool(false)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_lists_its_fields_once_and_in_order() {
        for (bundle_type, count) in [(BundleType::Dataset, 12), (BundleType::Make, 10), (BundleType::Run, 41)] {
            let keys: Vec<_> = fields(bundle_type).iter().map(|field| field.key).collect();
            assert_eq!(keys.len(), count);
            let unique: std::collections::BTreeSet<_> = keys.iter().collect();
            assert_eq!(unique.len(), count, "{bundle_type}");
            assert_eq!(
                keys[..7],
                [
                    "name",
                    "description",
                    "tags",
                    "created",
                    "data_size",
                    "failure_message",
                    "error_traceback"
                ]
            );
        }
    }

    #[test]
    fn options_are_derived_from_the_table() {
        let cpus = field(BundleType::Run, "request_cpus").unwrap();
        assert_eq!(
            (cpus.option_name().as_str(), cpus.metavar().as_str()),
            ("request-cpus", "REQUEST_CPUS")
        );
        assert_eq!(field(BundleType::Run, "name").unwrap().metavar(), "N");
        assert_eq!(field(BundleType::Run, "tags").unwrap().metavar(), "TAG");
        assert_eq!(cpus.description(), "Number of CPUs (request_cpus)");
    }

    #[test]
    fn metadata_types_name_the_format_of_numbers_only() {
        for (key, name) in [
            ("time", "duration"),
            ("created", "date"),
            ("request_time", "str"),
            ("tags", "list"),
            ("exitcode", "int"),
        ] {
            assert_eq!(field(BundleType::Run, key).unwrap().type_name(), name);
        }
    }
}
