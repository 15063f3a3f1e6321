//! Targets of `run` and `make`: keys, the `%…%` sugar in commands, and the dependencies they become.

use domain::spec::{KeyedTarget, TargetSpec};
use serde_json::{Value, json};

use crate::cli::{Cli, Worksheet};
use crate::error::{Error, Result};

/// A key and the text of its target spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// Path of the dependency in the bundle; may be empty for `make`.
    pub key: String,
    /// Target spec.
    pub target: String,
    /// It stood between percent signs in the command.
    pub from_sugar: bool,
}

/// Targets of `make`: no key and empty key both give the empty key.
pub fn of_make(specs: &[String]) -> Result<Vec<Keyed>> {
    specs
        .iter()
        .map(|spec| {
            let parsed = KeyedTarget::parse(spec)?;
            Ok(Keyed {
                key: parsed.key.unwrap_or_default(),
                target: parsed.target,
                from_sugar: false,
            })
        })
        .collect()
}

/// Targets of `run`, those inside the command included, and the command with these replaced by their keys.
pub fn of_run(specs: &[String], command: &str) -> Result<(Vec<Keyed>, String)> {
    let mut list = Vec::new();
    for spec in specs {
        add(&mut list, spec, false)?;
    }
    let command = desugar(command, &mut list)?;
    Ok((list, command))
}

/// Replaces `%target%` from left to right. Stops at `%%` and at a `%` without partner. Where there is something to
/// replace, `\%` is a plain percent sign.
fn desugar(command: &str, list: &mut Vec<Keyed>) -> Result<String> {
    let mut out = String::new();
    let mut rest = command;
    if !has_sugar(command) {
        return Ok(command.to_owned());
    }
    while let Some((before, target, after)) = next_sugar(rest) {
        out.push_str(&before.replace("\\%", "%"));
        out.push_str(&add(list, target, true)?);
        rest = after;
    }
    // From a `%%` on nothing is touched.
    let untouched = rest.find("%%").unwrap_or(rest.len());
    out.push_str(&rest[..untouched].replace("\\%", "%"));
    out.push_str(&rest[untouched..]);
    Ok(out)
}

/// Whether there are two percent signs that could enclose a target, escaped or not. If not, the command is left alone,
/// backslashes included.
fn has_sugar(command: &str) -> bool {
    command
        .split_once('%')
        .is_some_and(|(_, rest)| !rest.starts_with('%') && rest.contains('%'))
}

/// Text before the next target, the target, and the text after it.
fn next_sugar(text: &str) -> Option<(&str, &str, &str)> {
    let open = unescaped_percent(text, 0)?;
    let inner = &text[open + 1..];
    if inner.starts_with('%') {
        return None;
    }
    let close = unescaped_percent(inner, 0)?;
    Some((&text[..open], &inner[..close], &inner[close + 1..]))
}

fn unescaped_percent(text: &str, from: usize) -> Option<usize> {
    let at = from + text[from..].find('%')?;
    if text[..at].ends_with('\\') {
        unescaped_percent(text, at + 1)
    } else {
        Some(at)
    }
}

/// Adds a keyed target unless it is there already; gives its key.
fn add(list: &mut Vec<Keyed>, spec: &str, from_sugar: bool) -> Result<String> {
    let parsed = KeyedTarget::parse(spec)?;
    let key = match parsed.key {
        Some(key) if !key.is_empty() => key,
        Some(_) => {
            let target = TargetSpec::parse(&parsed.target)?;
            if target.path().is_empty() {
                target.bundle
            } else {
                target.path().to_owned()
            }
        }
        None => match list.iter().find(|other| other.target == parsed.target) {
            Some(other) => return Ok(other.key.clone()),
            None => format!("b{}", list.len() + 1),
        },
    };
    match list.iter().find(|other| other.key == key) {
        Some(other) if other.target == parsed.target => {}
        Some(other) => {
            let message = format!(
                "key {key} exists with multiple values: {} and {}",
                other.target, parsed.target
            );
            return Err(Error::usage(message));
        }
        None => list.push(Keyed {
            key: key.clone(),
            target: parsed.target,
            from_sugar,
        }),
    }
    Ok(key)
}

/// Refuses keys that cannot stand together.
pub fn check_keys(list: &[Keyed]) -> Result<()> {
    if list.iter().filter(|keyed| keyed.key.is_empty()).count() > 1 {
        return Err(Error::usage("Must specify keys when packaging multiple targets!"));
    }
    for (index, keyed) in list.iter().enumerate() {
        for other in &list[index + 1..] {
            if keyed.key == other.key {
                return Err(Error::usage(format!("Duplicate key: {}", keyed.key)));
            }
            for (inner, outer) in [(&keyed.key, &other.key), (&other.key, &keyed.key)] {
                if inner
                    .strip_prefix(outer.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
                {
                    return Err(Error::usage(format!(
                        "A key cannot be an ancestor of another: {inner} {outer}"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Resolves the targets, on the instance of the worksheet, to the dependencies the server wants.
pub async fn resolve(cli: &mut Cli, list: &[Keyed], worksheet: &Worksheet) -> Result<Vec<Value>> {
    check_keys(list)?;
    let specs = list
        .iter()
        .map(|keyed| TargetSpec::parse(&keyed.target))
        .collect::<domain::Result<Vec<_>>>()?;
    let targets = cli
        .targets(&specs, worksheet, false)
        .await
        .map_err(|error| explain(error, list))?;
    let dependencies = list.iter().zip(targets).map(
        |(keyed, target)| json!({"child_path": keyed.key, "parent_uuid": target.uuid, "parent_path": target.subpath}),
    );
    Ok(dependencies.collect())
}

/// A name that was not found may be a percent sign that was meant as such.
fn explain(error: Error, list: &[Keyed]) -> Error {
    let sugar: Vec<String> = list
        .iter()
        .filter(|keyed| keyed.from_sugar)
        .map(|keyed| format!("%{}%", keyed.target))
        .collect();
    match error {
        Error::Named { class, message } if !sugar.is_empty() => Error::Named {
            class,
            message: format!(
                "{message} ({} in the command was read as a dependency; write \\% for a percent sign)",
                sugar.join(", ")
            ),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(specs: &[&str], command: &str) -> Result<(String, String)> {
        let specs: Vec<String> = specs.iter().map(|&spec| spec.to_owned()).collect();
        let (list, command) = of_run(&specs, command)?;
        let list: Vec<String> = list
            .iter()
            .map(|keyed| format!("{}:{}", keyed.key, keyed.target))
            .collect();
        Ok((list.join(" "), command))
    }

    #[test]
    fn sugar_becomes_dependencies() {
        for (specs, typed, dependencies, command) in [
            (&[][..], "cat %a.txt%", "b1:a.txt", "cat b1"),
            (&[], "cat %:a.txt%", "a.txt:a.txt", "cat a.txt"),
            (&[], "cat %in:a.txt%", "in:a.txt", "cat in"),
            (&[], "cat %a% %a% %a%", "b1:a", "cat b1 b1 b1"),
            (&[], "%tagger%/go %in.csv%", "b1:tagger b2:in.csv", "b1/go b2"),
            (&[], "%:w2v//glove%/v.txt", "glove:w2v//glove", "glove/v.txt"),
            (&[], "%:w2v//glove/v.txt%", "v.txt:w2v//glove/v.txt", "v.txt"),
            (&["a:x"], "cat %c%", "a:x b2:c", "cat b2"),
            (&["a:x"], "cat %x%", "a:x", "cat a"),
            (&["x", "y"], "cat b1", "b1:x b2:y", "cat b1"),
            (&[":u1", ":u2"], "c", "u1:u1 u2:u2", "c"),
            (&[":u", ":u"], "c", "u:u", "c"),
            (&[":b/x.txt"], "c", "x.txt:b/x.txt", "c"),
            (&[], "cat %a%\necho %b%\n", "b1:a b2:b", "cat b1\necho b2\n"),
            (&[], "echo 100%", "", "echo 100%"),
            (&[], "echo 100\\%", "", "echo 100\\%"),
            (&[], "date +\\%Y-\\%m-\\%d", "", "date +%Y-%m-%d"),
            (&[], "cat %a% %% %b%", "b1:a", "cat b1 %% %b%"),
            (&[], "echo %% %b%", "", "echo %% %b%"),
        ] {
            assert_eq!(
                run(specs, typed).unwrap(),
                (dependencies.to_owned(), command.to_owned()),
                "{typed}"
            );
        }
    }

    #[test]
    fn keys_that_clash_are_refused() {
        let error = run(&["k:a", "k:b"], "c").unwrap_err();
        assert_eq!(
            error.to_string(),
            "UsageError: key k exists with multiple values: a and b"
        );
        let make = |specs: &[&str]| {
            let specs: Vec<String> = specs.iter().map(|&spec| spec.to_owned()).collect();
            of_make(&specs)
                .and_then(|list| check_keys(&list))
                .map_err(|error| error.to_string())
        };
        assert_eq!(make(&["a:x", "b:y"]), Ok(()));
        assert_eq!(make(&["k:x", "k:y"]), Err("UsageError: Duplicate key: k".into()));
        assert_eq!(
            make(&["x", "y"]),
            Err("UsageError: Must specify keys when packaging multiple targets!".into())
        );
        assert_eq!(
            make(&["foo:x", "foo/bar:y"]),
            Err("UsageError: A key cannot be an ancestor of another: foo/bar foo".into())
        );
    }

    proptest::proptest! {
        #[test]
        fn no_command_panics(command in "[%\\\\:/a-c\\n ]{0,20}") {
            let _ = run(&[], &command);
        }
    }
}
