//! Worksheets with directives through the Python client of CodaLab 1.7: what it prints is what the documents of 1.7 show, and
//! what our client prints.

use codalab_tests::{PythonCl, Runtime, Setup, System, quick};
use rstest::rstest;
use testkit::Engine;

fn start(database: Engine) -> Option<(System, PythonCl)> {
    if quick() {
        return None;
    }
    let system = System::start(Setup::new(database, Runtime::Process));
    let cl = system.python();
    Some((system, cl))
}

fn uuid(text: &str) -> String {
    let word = text.split_whitespace().last().unwrap_or_default();
    assert!(word.starts_with("0x") && word.len() == 34, "no uuid: {text}");
    word.to_owned()
}

/// Blanks at the ends of lines, which tables have, are not part of these transcripts.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Both clients print the same; this is it. Ours is switched to the worksheet of the other one first.
fn printed(system: &System, python: &PythonCl, arguments: &[&str]) -> String {
    system.cl().ok(&["work", &python.ok(&["work", "-u"])]);
    let theirs = python.run(arguments);
    assert_eq!(theirs.code, Some(0), "{theirs}");
    let ours = system.cl().run(arguments);
    assert_eq!(ours.code, Some(0), "{ours}");
    let theirs = String::from_utf8(theirs.stdout).unwrap();
    assert_eq!(theirs, String::from_utf8(ours.stdout).unwrap(), "{arguments:?}");
    theirs
}

#[rstest]
fn the_transcripts_of_worksheet_commands(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some((system, cl)) = start(database) else {
        return;
    };
    let (address, home) = (system.address(), uuid(&cl.ok(&["work", "-u"])));
    let sheet = uuid(&cl.ok(&["new", "rivers"]));
    cl.ok(&["work", "rivers"]);
    system.write("rivers.csv", "a\n");
    let data = uuid(&cl.ok(&["upload", "rivers.csv", "-d", "gauge levels"]));
    let source = uuid(&cl.ok(&["upload", "-c", "print('done')", "-n", "src"]));
    system.write("sheet.md", format!("% display table uuid name state\n{{{data}}}\n"));
    cl.ok(&["wedit", "-f", "sheet.md"]);
    let (code, levels) = (format!("src:{source}"), format!("rivers.csv:{data}"));
    let command = "cat src >/dev/null; echo done";
    let fit = uuid(&cl.ok(&["run", &code, &levels, command, "-n", "fit", "-w", &home]));
    cl.ok(&["wait", &fit]);

    // Worksheet contents.
    assert_eq!(
        cl.ok(&["add", "text", "## Results", "% display contents /stdout maxlines=3"]),
        ""
    );
    assert_eq!(cl.ok(&["add", "bundle", &fit]), "");
    assert_eq!(cl.ok(&["add", "worksheet", "home-codalab"]), "");
    assert_eq!(
        cl.ok(&["wedit", "-t", "River study", "-T", "hydro", "paper"]),
        format!("Saved worksheet metadata for rivers({sheet}).")
    );

    // print
    let owner = cl.ok(&["uinfo", "-f", "id"]);
    let printed_now = printed(&system, &cl, &["print"]);
    let public = printed_now.split("public(").nth(1).unwrap()[..8].to_owned();
    let expected = format!(
        "### Worksheet: {address}/worksheets/{sheet} (rivers)
### Title: River study
### Tags: hydro paper
### Owner: codalab({owner})
### Permissions: public({public}):read

  uuid[0:8]  name        state
  ----------------------------
  {}   rivers.csv  ready

## Results

done

[Worksheet {address}/worksheets/{home} (home-codalab)]",
        &data[..8]
    );
    assert_eq!(trimmed(&printed_now), expected);
    let expected = format!(
        "% display table uuid name state
[dataset rivers.csv]{{{data}}}
## Results
% display contents /stdout maxlines=3
[run fit -- :src,:rivers.csv : cat src >/dev/null; echo done]{{{fit}}}
[worksheet home-codalab]{{{{{home}}}}}
"
    );
    assert_eq!(printed(&system, &cl, &["print", "-r"]), expected);

    // What print -r shows, wedit takes back.
    system.write("same.md", &expected);
    assert_eq!(
        cl.ok(&["wedit", "-f", "same.md"]),
        format!("Saved worksheet items for rivers({sheet}).")
    );
    assert_eq!(printed(&system, &cl, &["print", "-r"]), expected);

    // wadd: bundles that are not final are left out.
    let scratch = uuid(&cl.ok(&["new", "scratch"]));
    let endless = uuid(&cl.ok(&["run", "while true; do sleep 1; done", "-n", "endless"]));
    system.await_state(&endless, "running");
    assert_eq!(
        cl.ok(&["wadd", "rivers", "scratch"]),
        format!(
            "Skipping bundle {endless} because it has non-final state running\nCopied 6 worksheet items to {scratch}."
        )
    );
    assert_eq!(
        system
            .cl()
            .with("CODALAB_SESSION", "ours")
            .ok(&["wadd", "rivers", "scratch", "-r"]),
        format!(
            "Skipping bundle {endless} because it has non-final state running\nCopied 6 worksheet items to {scratch}."
        )
    );
    assert_eq!(printed(&system, &cl, &["print", "-r", "scratch"]), expected);
    assert_eq!(
        cl.ok(&["wadd", "scratch", "scratch"]),
        format!("Copied 6 worksheet items to {scratch}.")
    );
    assert_eq!(printed(&system, &cl, &["print", "-r", "scratch"]), expected.repeat(2));
    let refused = cl.run(&["wrm", "scratch"]);
    assert!(
        refused.fails(1).ends_with(&format!(
            "Can't delete worksheet {scratch} because it is not empty (--force to override)."
        )),
        "{refused}"
    );
    cl.ok(&["kill", &endless]);

    // search --append puts what it finds below the last item.
    cl.ok(&["work", "scratch"]);
    cl.ok(&["wedit", "-f", "/dev/null"]);
    cl.ok(&["search", "type=dataset", "id=.sort", "--append"]);
    let expected = format!("\n[dataset rivers.csv]{{{data}}}\n[dataset src]{{{source}}}\n");
    assert_eq!(printed(&system, &cl, &["print", "-r", "scratch"]), expected);
    // A text that begins with a percent sign is a directive, any other is text as it stands.
    cl.ok(&[
        "add",
        "text",
        "%  display record name ",
        "// x",
        "{a}",
        "你好 😀",
        "two\nlines",
    ]);
    let expected = expected + "% display record name\n// x\n{a}\n你好 😀\ntwo\nlines\n";
    assert_eq!(printed(&system, &cl, &["print", "-r", "scratch"]), expected);
}

#[rstest]
fn every_directive_prints_the_same_in_both_clients(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some((system, cl)) = start(database) else {
        return;
    };
    let sheet = uuid(&cl.ok(&["new", "everything"]));
    cl.ok(&["work", &sheet]);
    system.write(
        "model/stats.json",
        r#"{"err": {"dev": 0.12345, "test": 0.2}, "tags": ["a", "b", "c"], "n": 12, "ok": true}"#,
    );
    system.write("model/log.tsv", "0\t0.9\n1\t0.5\n");
    system.write("model/plot.png", b"\x89PNG\r\n\x1a\n\xff\xfe");
    system.write(
        "model/notes.yaml",
        "rate: .5\nwhen: 2020-01-01\nnothing: ~\nworst: .nan\n",
    );
    system.write(
        "model/long.txt",
        (0..30).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n") + "\n",
    );
    let model = uuid(&cl.ok(&[
        "upload",
        "model",
        "-n",
        "model",
        "-d",
        "the 'best' one",
        "--tags",
        "x",
        "y",
        "z",
    ]));
    let plain = uuid(&cl.ok(&["upload", "-c", "plain", "-n", "plain"]));
    let run = uuid(&cl.ok(&["run", "m:model", "cat m/stats.json", "-n", "use"]));
    cl.ok(&["wait", &run]);
    let missing = "0xeeee0000eeee0000eeee0000eeee0000";
    system.write(
        "everything.md",
        format!(
            "# Everything
with *two* lines

// a comment
% schema s
% add name
% add dev /stats.json:err/dev %.3f
% add all /stats.json:err
% add names /stats.json:tags
% add n /stats.json:n
% add ok /stats.json:ok
% add rate /notes.yaml:rate
% add when /notes.yaml:when
% add none /notes.yaml:nothing
% add worst /notes.yaml:worst
% add tags
% add cut description [0:5]
% add link uuid \"key uuid | add path /log.tsv | add text log\"
% display table s
{{{model}}}
{{{run}}}
{{{missing}}}

% display table name:name created:created:date metadata:/stats.json deps:dependencies dep:dependencies/m args
{{{run}}}

% schema t
% addschema s
% add through /m/stats.json:n
% display record t
{{{model}}}
{{{run}}}

% display contents /long.txt maxlines=3
{{{model}}}
{{{run}}}

% display contents /
{{{model}}}
{{{plain}}}

% display image /plot.png width=10
{{{model}}}

% display graph /log.tsv xlabel=epoch
{{{model}}}
{{{plain}}}

% display hidden
{{{plain}}}

{{{{{sheet}}}}}
{{{{0xffff0000ffff0000ffff0000ffff0000}}}}
{{{{nosuch}}}}

% display table name
% search name=plain
{{{model}}}

Total:
% search .mine .count

% search size=.sum .format=size
% wsearch everything

% search name=nothing_has_this_name

% add name
% hi
% schema u
% addschema nope
% display html /
{{{plain}}}
last
"
        ),
    );
    cl.ok(&["wedit", "-f", "everything.md"]);
    let shown = trimmed(&printed(&system, &cl, &["print"]));
    for part in [
        "# Everything\nwith *two* lines",
        "[SchemaBlock]",
        "{'dev': 0.12345, 'test': 0.2}",
        "['a', 'b', 'c']",
        "{'uuid': '0x",
        "2020-01-01",
        "<invalid>",
        "the '",
        "line 0\nline 1\nline 2",
        "plain",
        "[Image]",
        "[Graph]",
        "(everything)]",
        "No worksheet found with name 'nosuch': {{nosuch}}",
        "Total:\n3",
        "`add` must be preceded by `schema` directive",
        "unknown directive `hi`",
        "Unexpected error while parsing line",
        "Unknown display mode: html",
    ] {
        assert!(shown.contains(part), "{part:?} is missing:\n{shown}");
    }
    let source = printed(&system, &cl, &["print", "-r"]);
    system.write("same.md", &source);
    cl.ok(&["wedit", "-f", "same.md"]);
    assert_eq!(printed(&system, &cl, &["print", "-r"]), source);
}
