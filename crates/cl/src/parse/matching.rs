//! Assigns tokens to arguments.

use std::collections::VecDeque;

use super::definition::{Argument, Arity, Kind};
use super::parsed::Parsed;

/// Result of parsing a command's tokens.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To execute.
    Values(Parsed),
    /// `-h` was given.
    Help,
}

/// A mistake on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// True for surplus arguments, which `argparse` reports in the name of the whole program.
    pub of_program: bool,
}

fn error<T>(message: String) -> Result<T, ParseError> {
    Err(ParseError {
        message,
        of_program: false,
    })
}

/// How a token was understood.
enum Token<'a> {
    /// Value or positional.
    Plain(&'a str),
    /// The first `--`.
    EndOfOptions,
    /// An option with the flag it matched and an attached value.
    Option {
        argument: &'a Argument,
        flag: String,
        attached: Option<String>,
    },
    /// Looks like an option, but there is none of that name.
    Unknown(&'a str),
    /// `-h` or `--help`.
    Help,
}

/// Parses the tokens after the command name.
pub fn parse(arguments: &[Argument], tokens: &[String]) -> Result<Outcome, ParseError> {
    let mut queue = classify(arguments, tokens)?;
    let mut parsed = Parsed::default();
    let mut positionals: Vec<String> = Vec::new();
    let mut extras: Vec<String> = Vec::new();
    while let Some(token) = queue.pop_front() {
        match token {
            Token::Plain(value) => positionals.push(value.to_owned()),
            Token::EndOfOptions => {}
            Token::Unknown(text) => extras.push(text.to_owned()),
            Token::Help => return Ok(Outcome::Help),
            Token::Option {
                argument,
                flag,
                attached,
            } => {
                if take_option(arguments, argument, flag, attached, &mut queue, &mut parsed)? {
                    return Ok(Outcome::Help);
                }
            }
        }
    }
    let surplus = assign_positionals(arguments, positionals, &mut parsed)?;
    extras.extend(surplus);
    if extras.is_empty() {
        Ok(Outcome::Values(parsed))
    } else {
        Err(ParseError {
            message: format!("unrecognized arguments: {}", extras.join(" ")),
            of_program: true,
        })
    }
}

fn classify<'a>(arguments: &'a [Argument], tokens: &'a [String]) -> Result<VecDeque<Token<'a>>, ParseError> {
    let mut queue = VecDeque::with_capacity(tokens.len());
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        if token == "--" {
            queue.push_back(Token::EndOfOptions);
            queue.extend(tokens.by_ref().map(|token| Token::Plain(token)));
        } else {
            queue.push_back(classify_one(arguments, token)?);
        }
    }
    Ok(queue)
}

fn classify_one<'a>(arguments: &'a [Argument], token: &'a str) -> Result<Token<'a>, ParseError> {
    if !token.starts_with('-') || token.len() == 1 {
        return Ok(Token::Plain(token));
    }
    if token == "-h" || token == "--help" {
        return Ok(Token::Help);
    }
    if let Some(argument) = by_flag(arguments, token) {
        return Ok(Token::Option {
            argument,
            flag: token.to_owned(),
            attached: None,
        });
    }
    if let Some((name, value)) = token.split_once('=')
        && let Some(argument) = by_flag(arguments, name)
    {
        return Ok(Token::Option {
            argument,
            flag: name.to_owned(),
            attached: Some(value.to_owned()),
        });
    }
    if token.starts_with("--") {
        if let Some(option) = by_prefix(arguments, token)? {
            return Ok(option);
        }
    } else {
        let first = token.chars().nth(1).map_or(0, char::len_utf8) + 1;
        let (flag, attached) = token.split_at(first);
        if flag == "-h" {
            return Ok(Token::Help);
        }
        if let Some(argument) = by_flag(arguments, flag) {
            let attached = (!attached.is_empty()).then(|| attached.to_owned());
            return Ok(Token::Option {
                argument,
                flag: flag.to_owned(),
                attached,
            });
        }
    }
    if looks_like_negative_number(token) || token.contains(' ') {
        return Ok(Token::Plain(token));
    }
    Ok(Token::Unknown(token))
}

fn by_flag<'a>(arguments: &'a [Argument], flag: &str) -> Option<&'a Argument> {
    arguments
        .iter()
        .find(|argument| argument.flags.iter().any(|name| name == flag))
}

/// The option of which `token` (`--pre` or `--pre=value`) is an unambiguous prefix.
fn by_prefix<'a>(arguments: &'a [Argument], token: &str) -> Result<Option<Token<'a>>, ParseError> {
    let (prefix, attached) = match token.split_once('=') {
        Some((prefix, value)) => (prefix, Some(value.to_owned())),
        None => (token, None),
    };
    let mut found: Vec<(Option<&Argument>, &str)> = Vec::new();
    if "--help".starts_with(prefix) {
        found.push((None, "--help"));
    }
    for argument in arguments {
        let matching = argument.flags.iter().filter(|flag| flag.starts_with(prefix));
        found.extend(matching.map(|flag| (Some(argument), flag.as_ref())));
    }
    match found.as_slice() {
        [] => Ok(None),
        [(None, _)] => Ok(Some(Token::Help)),
        [(Some(argument), flag)] => Ok(Some(Token::Option {
            argument,
            flag: (*flag).to_owned(),
            attached,
        })),
        several => {
            let names: Vec<&str> = several.iter().map(|(_, flag)| *flag).collect();
            error(format!("ambiguous option: {token} could match {}", names.join(", ")))
        }
    }
}

/// Stores the values of an option; true if a clustered `-h` asked for help.
fn take_option<'a>(
    arguments: &'a [Argument],
    mut argument: &'a Argument,
    mut flag: String,
    mut attached: Option<String>,
    queue: &mut VecDeque<Token<'a>>,
    parsed: &mut Parsed,
) -> Result<bool, ParseError> {
    while let Some(value) = attached {
        match argument.arity {
            Arity::Flag => {
                let refuse = || {
                    error(format!(
                        "argument {}: ignored explicit argument {}",
                        argument.display_name(),
                        python(&value)
                    ))
                };
                // `-rv`: the rest of the token is more flags.
                let Some(next) = value.chars().next().filter(|_| !flag.starts_with("--")) else {
                    return refuse();
                };
                let next_flag = format!("-{next}");
                if next_flag == "-h" {
                    return Ok(true);
                }
                let Some(next_argument) = by_flag(arguments, &next_flag) else {
                    return refuse();
                };
                parsed.set(&argument.dest, Vec::new());
                let rest = &value[next.len_utf8()..];
                attached = (!rest.is_empty()).then(|| rest.to_owned());
                (argument, flag) = (next_argument, next_flag);
            }
            Arity::Exactly(count) if count != 1 => {
                let name = argument.display_name();
                return error(format!("argument {name}: expected {count} arguments"));
            }
            _ => {
                check(argument, &value)?;
                parsed.set(&argument.dest, vec![value]);
                return Ok(false);
            }
        }
    }
    let most = match argument.arity {
        Arity::Flag => 0,
        Arity::One | Arity::Optional => 1,
        Arity::Exactly(count) => count,
        Arity::Any | Arity::AtLeastOne => usize::MAX,
    };
    let mut values = Vec::new();
    while values.len() < most
        && let Some(Token::Plain(value)) = queue.front()
    {
        values.push((*value).to_owned());
        queue.pop_front();
    }
    let name = argument.display_name();
    match argument.arity {
        Arity::One if values.is_empty() => return error(format!("argument {name}: expected one argument")),
        Arity::AtLeastOne if values.is_empty() => {
            return error(format!("argument {name}: expected at least one argument"));
        }
        Arity::Exactly(count) if values.len() < count => {
            return error(format!("argument {name}: expected {count} arguments"));
        }
        _ => {}
    }
    for value in &values {
        check(argument, value)?;
    }
    parsed.set(&argument.dest, values);
    Ok(false)
}

/// Hands the positional tokens out; gives the surplus.
fn assign_positionals(
    arguments: &[Argument],
    tokens: Vec<String>,
    parsed: &mut Parsed,
) -> Result<Vec<String>, ParseError> {
    let positionals: Vec<&Argument> = arguments.iter().filter(|argument| argument.is_positional()).collect();
    let least = |argument: &Argument| usize::from(matches!(argument.arity, Arity::One | Arity::AtLeastOne));
    let mut tokens: VecDeque<String> = tokens.into();
    let mut missing: Vec<&str> = Vec::new();
    for (index, argument) in positionals.iter().enumerate() {
        // A list is greedy but leaves what the positionals after it need.
        let reserved: usize = positionals[index + 1..].iter().map(|later| least(later)).sum();
        let available = tokens.len().saturating_sub(reserved);
        let count = match argument.arity {
            Arity::One => tokens.len().min(1),
            Arity::Optional => available.min(1),
            Arity::AtLeastOne => available.max(tokens.len().min(1)),
            _ => available,
        };
        if count < least(argument) {
            missing.push(&argument.dest);
            continue;
        }
        let values: Vec<String> = tokens.drain(..count).collect();
        for value in &values {
            check(argument, value)?;
        }
        if !values.is_empty() {
            parsed.set(&argument.dest, values);
        }
    }
    if missing.is_empty() {
        return Ok(tokens.into());
    }
    error(format!("the following arguments are required: {}", missing.join(", ")))
}

fn check(argument: &Argument, value: &str) -> Result<(), ParseError> {
    let name = argument.display_name();
    match argument.kind {
        Kind::Text => Ok(()),
        Kind::Int if python_int(value).is_some() => Ok(()),
        Kind::Int => error(format!("argument {name}: invalid int value: {}", python(value))),
        Kind::Choice(choices) if choices.contains(&value) => Ok(()),
        Kind::Choice(choices) => {
            let choices: Vec<String> = choices.iter().map(|choice| python(choice)).collect();
            error(format!(
                "argument {name}: invalid choice: {} (choose from {})",
                python(value),
                choices.join(", ")
            ))
        }
    }
}

/// Reads an integer as Python's `int()` does: blanks around it, a sign, single underscores between digits.
pub(super) fn python_int(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let well_formed = digits
        .split('_')
        .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    if well_formed {
        text.replace('_', "").parse().ok()
    } else {
        None
    }
}

/// `-5`, `-5.`, `-.5`: what `argparse` takes for a value although it starts with a dash.
fn looks_like_negative_number(token: &str) -> bool {
    let Some(number) = token.strip_prefix('-') else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match number.split_once('.') {
        None => !number.is_empty() && digits(number),
        Some((whole, fraction)) => !fraction.is_empty() && digits(whole) && digits(fraction),
    }
}

/// A text as Python shows it in messages.
fn python(text: &str) -> String {
    domain::literal::repr(&serde_json::Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_arguments() -> Vec<Argument> {
        vec![
            Argument::positional("target_spec", Arity::Any, ""),
            Argument::positional("command", Arity::One, ""),
            Argument::worksheet(),
            Argument::option("after_sort_key", "-a --after_sort_key", Arity::One, ""),
            Argument::option("name", "-n --name", Arity::One, ""),
            Argument::option("description", "-d --description", Arity::One, ""),
            Argument::option("title", "--title", Arity::One, ""),
            Argument::option("tags", "--tags", Arity::Any, ""),
            Argument::option("request_cpus", "--request-cpus", Arity::One, "").kind(Kind::Int),
            Argument::option("request_network", "--request-network", Arity::Flag, ""),
            Argument::option("field", "-f --field", Arity::Exactly(2), ""),
            Argument::flag("raw", "-r --raw", ""),
            Argument::flag("verbose", "-v --verbose", ""),
        ]
    }

    fn shown(typed: &[&str]) -> String {
        let tokens: Vec<String> = typed.iter().map(|&token| token.to_owned()).collect();
        match parse(&run_arguments(), &tokens) {
            Ok(Outcome::Help) => "help".to_owned(),
            Err(error) => format!("{}{}", if error.of_program { "cl: " } else { "" }, error.message),
            Ok(Outcome::Values(parsed)) => {
                let mut values: Vec<(&String, &Vec<String>)> = parsed.values_for_test().collect();
                values.sort();
                let values: Vec<String> = values
                    .iter()
                    .map(|(dest, list)| format!("{dest}=[{}]", list.join("|")))
                    .collect();
                values.join(" ")
            }
        }
    }

    #[test]
    fn command_lines_mean_what_argparse_says() {
        for (typed, expected) in [
            (&["cmd"][..], "command=[cmd]"),
            (&["a", "b", "cmd"], "command=[cmd] target_spec=[a|b]"),
            (&["cmd", "--desc", "x"], "command=[cmd] description=[x]"),
            (&["cmd", "--tag=x"], "command=[cmd] tags=[x]"),
            (&["cmd", "--request-n"], "command=[cmd] request_network=[]"),
            (
                &["cmd", "--t", "x"],
                "ambiguous option: --t could match --title, --tags",
            ),
            (&["cmd", "--name=x"], "command=[cmd] name=[x]"),
            (&["cmd", "-n=x"], "command=[cmd] name=[x]"),
            (&["cmd", "-nx"], "command=[cmd] name=[x]"),
            (&["cmd", "--name="], "command=[cmd] name=[]"),
            (&["cmd", "-rv"], "command=[cmd] raw=[] verbose=[]"),
            (&["cmd", "-rn", "x"], "command=[cmd] name=[x] raw=[]"),
            (&["cmd", "-rx"], "argument -r/--raw: ignored explicit argument 'x'"),
            (&["cmd", "--raw=1"], "argument -r/--raw: ignored explicit argument '1'"),
            (&["cmd", "-n", "a", "-n", "b"], "command=[cmd] name=[b]"),
            (&["cmd", "--tags", "a", "--tags", "b"], "command=[cmd] tags=[b]"),
            (
                &["--tags", "a", "b", "cmd"],
                "the following arguments are required: command",
            ),
            (&["--tags", "a", "b", "--", "cmd"], "command=[cmd] tags=[a|b]"),
            (&["cmd", "--tags", "a", "b"], "command=[cmd] tags=[a|b]"),
            (&["cmd", "--tags"], "command=[cmd] tags=[]"),
            (&["cmd", "-f", "a", "b"], "command=[cmd] field=[a|b]"),
            (&["cmd", "-f", "a"], "argument -f/--field: expected 2 arguments"),
            (&["-c echo hi"], "command=[-c echo hi]"),
            (&["- item"], "command=[- item]"),
            (&["cmd", "--request-cpus", "-3"], "command=[cmd] request_cpus=[-3]"),
            (
                &["cmd", "--request-cpus", "two"],
                "argument --request-cpus: invalid int value: 'two'",
            ),
            (
                &["cmd", "-d", "-foo"],
                "argument -d/--description: expected one argument",
            ),
            (&["cmd", "-d=-foo"], "command=[cmd] description=[-foo]"),
            (&["cmd", "-d", "-xoo bar"], "command=[cmd] description=[-xoo bar]"),
            (&["-a 12", "cmd"], "after_sort_key=[ 12] command=[cmd]"),
            (&["-d x y", "cmd"], "command=[cmd] description=[ x y]"),
            (&[":a", "--", "-x"], "command=[-x] target_spec=[:a]"),
            (&["--", "a", "--", "-x"], "command=[-x] target_spec=[a|--]"),
            (&["@file"], "command=[@file]"),
            (&["-"], "command=[-]"),
            (&[""], "command=[]"),
            (&["cmd", "--nope"], "cl: unrecognized arguments: --nope"),
            (&["cmd", "-z"], "cl: unrecognized arguments: -z"),
            (&[], "the following arguments are required: command"),
            (&["cmd", "-h"], "help"),
            (&["cmd", "--he"], "help"),
            (&["a", "-n", "x", "cmd"], "command=[cmd] name=[x] target_spec=[a]"),
        ] {
            assert_eq!(shown(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn fixed_and_optional_positionals_leave_room_for_each_other() {
        let arguments = [
            Argument::positional("kind", Arity::One, "").kind(Kind::Choice(&["text", "bundle"])),
            Argument::positional("item", Arity::AtLeastOne, ""),
        ];
        let run = |typed: &[&str]| {
            let tokens: Vec<String> = typed.iter().map(|&token| token.to_owned()).collect();
            parse(&arguments, &tokens).map_err(|error| error.message)
        };
        assert!(matches!(run(&["text", "a", "b"]), Ok(Outcome::Values(parsed)) if parsed.list("item") == ["a", "b"]));
        assert_eq!(run(&["text"]), Err("the following arguments are required: item".into()));
        assert_eq!(run(&[]), Err("the following arguments are required: kind, item".into()));
        assert_eq!(
            run(&["x", "y"]),
            Err("argument kind: invalid choice: 'x' (choose from 'text', 'bundle')".into())
        );
        let optional = [Argument::positional("worksheet_spec", Arity::Optional, "")];
        let surplus = parse(&optional, &["a".into(), "b".into()]).unwrap_err();
        assert!(surplus.of_program && surplus.message == "unrecognized arguments: b");
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        for (text, value) in [
            ("5", Some(5)),
            (" 5 ", Some(5)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("1_000", Some(1000)),
            ("1__0", None),
            ("5.0", None),
            ("", None),
            ("0x5", None),
            ("--5", None),
        ] {
            assert_eq!(python_int(text), value, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_panics(tokens in proptest::collection::vec("(-{0,3})[a-zé= ]{0,6}|-?[0-9.]{0,3}|--tags|-f", 0..8)) {
            let _ = parse(&run_arguments(), &tokens);
        }
    }
}
