//! The scripts for bash, zsh and fish, and the answers they ask for.

use std::io::Write;

use super::{Completions, complete};
use crate::cli::Cli;
use crate::error::Result;

/// First line of an answer: file names may stand here as well.
const FILES: &str = ":files";

/// What bash takes for the end of a word although it is inside one.
const BASH_BREAKS: [char; 2] = [':', '='];

const BASH: &str = r#"# Completion of cl for bash: eval "$(cl completion bash)"
_cl_complete() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        if [ "$line" = ":files" ]; then
            compopt -o default
        else
            COMPREPLY+=("$line")
        fi
    done < <(cl __complete --line "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null)
    case "${COMPREPLY[0]}" in
        */ | *:) compopt -o nospace ;;
    esac
}
complete -F _cl_complete cl
"#;

const ZSH: &str = r#"#compdef cl
# Completion of cl for zsh: eval "$(cl completion zsh)", or save it as _cl in a directory of $fpath
_cl() {
    local line
    local -a found open
    for line in "${(@f)$(cl __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        case "$line" in
            :files) _files ;;
            */ | *:) open+=("$line") ;;
            ?*) found+=("$line") ;;
        esac
    done
    (( $#found )) && compadd -- "${found[@]}"
    (( $#open )) && compadd -S '' -- "${open[@]}"
}
if [ "$funcstack[1]" = "_cl" ]; then
    _cl "$@"
else
    compdef _cl cl
fi
"#;

const FISH: &str = r#"# Completion of cl for fish: cl completion fish | source
function __cl_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (cl __complete -- $words[2..-1] 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (commandline -ct)
        else
            echo -- $line
        end
    end
end
complete -c cl -f -a '(__cl_complete)'
"#;

/// The script for a shell; `None` for another one.
pub fn script(shell: &str) -> Option<&'static str> {
    match shell {
        "bash" => Some(BASH),
        "zsh" => Some(ZSH),
        "fish" => Some(FISH),
        _ => None,
    }
}

/// Answers a script: `-- <word> ...` or `--line <text up to the cursor>`, the program's name left out of the former only.
pub async fn answer_shell(cli: &mut Cli, arguments: &[String]) -> Result<()> {
    let (words, for_bash) = match arguments {
        [option, line] if option == "--line" => (words_of(line), true),
        [dashes, words @ ..] if dashes == "--" => (words.to_vec(), false),
        words => (words.to_vec(), false),
    };
    let mut completions = complete(cli, &words).await;
    if for_bash {
        drop_begun_part(&mut completions, words.last().map_or("", String::as_str));
    }
    if completions.files {
        cli.ui.line(FILES)?;
    }
    for word in completions.words {
        cli.ui.line(word)?;
    }
    Ok(())
}

/// Answers the function that `register-python-argcomplete` defines, which many have in their start-up files: candidates
/// go to file descriptor 8, separated by `separator`.
pub async fn answer_argcomplete(cli: &mut Cli, line: &str, point: Option<usize>, separator: &str) {
    let end = point.filter(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
    let words = words_of(&line[..end.min(line.len())]);
    let mut completions = complete(cli, &words).await;
    drop_begun_part(&mut completions, words.last().map_or("", String::as_str));
    if let Ok(mut out) = std::fs::OpenOptions::new().write(true).open("/dev/fd/8") {
        let _ = out.write_all(completions.words.join(separator).as_bytes());
    }
}

/// bash keeps what stands before the last `:` or `=` of a word, and wants only the rest.
fn drop_begun_part(completions: &mut Completions, partial: &str) {
    if let Some(at) = partial.rfind(BASH_BREAKS) {
        for word in &mut completions.words {
            if let Some(rest) = word.get(at + 1..) {
                *word = rest.to_owned();
            }
        }
    }
}

/// The words of a command line that may end in the middle of a word, without the program's name. The last one is the one
/// to complete, empty after a blank.
fn words_of(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.push(word.unwrap_or_default());
    words.drain(..1.min(words.len()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_in_the_word_to_complete() {
        for (line, words) in [
            ("cl", &[][..]),
            ("cl ", &[""]),
            ("cl cat a", &["cat", "a"]),
            ("cl cat ", &["cat", ""]),
            ("cl run 'a b", &["run", "a b"]),
            ("cl run 'a b' \"c\\\"d", &["run", "a b", "c\"d"]),
            ("cl cat a\\ b", &["cat", "a b"]),
            ("cl cat '", &["cat", ""]),
            ("cl cat x\\", &["cat", "x"]),
        ] {
            assert_eq!(words_of(line), words, "{line}");
        }
    }

    #[test]
    fn bash_gets_what_follows_the_last_break() {
        for (partial, word, rest) in [
            ("k:par", "k:params", "params"),
            ("main::", "main::home", "home"),
            ("--file=a", "--file=a.txt", "a.txt"),
            ("par", "params", "params"),
        ] {
            let mut completions = Completions {
                words: vec![word.to_owned()],
                files: false,
            };
            drop_begun_part(&mut completions, partial);
            assert_eq!(completions.words, [rest]);
        }
    }

    #[test]
    fn the_scripts_are_accepted_by_their_shells() {
        for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), script(shell).unwrap()).unwrap();
            // Not every machine has every shell.
            let Ok(output) = std::process::Command::new(shell).arg(check).arg(file.path()).output() else {
                continue;
            };
            assert!(
                output.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}
