//! Showing a page in the user's browser.

use std::process::{Command, Stdio};

use crate::cli::Cli;

/// What opens a page on the systems we know, in the order in which they are tried.
const OPENERS: &[&str] = &["xdg-open", "open", "wslview"];

/// Opens a page with `$BROWSER`, else with what the system has. If there is no browser, the address is shown instead;
/// that is no failure.
pub fn open(cli: &mut Cli, url: &str) {
    let chosen = cli
        .environment
        .text("BROWSER")
        .filter(|browser| !browser.trim().is_empty());
    let started = match chosen {
        Some(browser) => shlex::split(&browser).is_some_and(|words| start(&words, url)),
        // Without a person at the terminal nothing is started unasked.
        None if !cli.environment.may_prompt() => false,
        None => OPENERS.iter().any(|opener| start(&[(*opener).to_owned()], url)),
    };
    if !started {
        cli.ui.notice(format!("No browser was found to open {url}"));
    }
}

/// Starts a program and does not wait for it.
fn start(words: &[String], url: &str) -> bool {
    let Some((program, arguments)) = words.split_first() else {
        return false;
    };
    Command::new(program)
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}
