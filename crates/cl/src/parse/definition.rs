//! What a command accepts.

use std::borrow::Cow;

/// How many tokens an argument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// An option without value.
    Flag,
    /// Exactly one; a positional of this kind is required.
    One,
    /// Positional: none or one.
    Optional,
    /// None or more; for options greedy up to the next option.
    Any,
    /// Positional: one or more.
    AtLeastOne,
    /// An option with exactly this many values.
    Exactly(usize),
}

/// What the values must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// What Python's `int()` reads.
    Int,
    /// One of these.
    Choice(&'static [&'static str]),
}

/// One option or positional.
#[derive(Debug, Clone)]
pub struct Argument {
    /// Key in [`super::Parsed`]; for positionals also the name in messages.
    pub dest: Cow<'static, str>,
    /// `-n`, `--name`; empty for positionals.
    pub flags: Vec<Cow<'static, str>>,
    /// Number of values.
    pub arity: Arity,
    /// Type of values.
    pub kind: Kind,
    /// Name of the value in the usage; default from `dest`.
    pub metavar: Option<&'static str>,
    /// One line of help.
    pub help: Cow<'static, str>,
    /// Left out of usage and help.
    pub hidden: bool,
}

impl Argument {
    /// A positional.
    pub fn positional(dest: &'static str, arity: Arity, help: &'static str) -> Self {
        Self::new(dest, Vec::new(), arity, help)
    }

    /// An option with values; `flags` separated by blanks, `--long` last.
    pub fn option(dest: &'static str, flags: &'static str, arity: Arity, help: &'static str) -> Self {
        Self::new(dest, flags.split(' ').map(Cow::Borrowed).collect(), arity, help)
    }

    /// An option without value.
    pub fn flag(dest: &'static str, flags: &'static str, help: &'static str) -> Self {
        Self::option(dest, flags, Arity::Flag, help)
    }

    /// The option that nearly all commands have.
    pub fn worksheet() -> Self {
        Self::option(
            "worksheet_spec",
            "-w --worksheet-spec",
            Arity::One,
            "Operate on this worksheet, [<instance>::](<uuid>|<name>), instead of the current one.",
        )
    }

    /// The option of everything that lists or describes.
    pub fn json() -> Self {
        Self::flag("json", "--json", "Print JSON, for programs.")
    }

    fn new(dest: &'static str, flags: Vec<Cow<'static, str>>, arity: Arity, help: &'static str) -> Self {
        Self {
            dest: Cow::Borrowed(dest),
            flags,
            arity,
            kind: Kind::Text,
            metavar: None,
            help: Cow::Borrowed(help),
            hidden: false,
        }
    }

    /// Sets the type.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the name of the value.
    pub fn metavar(mut self, name: &'static str) -> Self {
        self.metavar = Some(name);
        self
    }

    /// True if it has no flags.
    pub fn is_positional(&self) -> bool {
        self.flags.is_empty()
    }

    /// `-n/--name`, or the name of a positional: how messages call it.
    pub fn display_name(&self) -> String {
        if self.is_positional() {
            self.dest.to_string()
        } else {
            self.flags.join("/")
        }
    }

    /// Name of the value in usage and help.
    pub fn value_name(&self) -> String {
        match (self.metavar, self.kind) {
            (Some(name), _) => name.to_owned(),
            (None, Kind::Choice(choices)) => format!("{{{}}}", choices.join(",")),
            (None, _) if self.is_positional() => self.dest.to_string(),
            (None, _) => self.dest.to_uppercase(),
        }
    }
}
