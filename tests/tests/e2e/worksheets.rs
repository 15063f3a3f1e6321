//! Worksheets through the binaries: the ones that fill themselves, edits that meet, and source texts that nobody should write.

use codalab_tests::{Runtime, Setup, System};
use rstest::rstest;
use serde_json::Value;
use testkit::Engine;

fn without_worker(database: Engine) -> Option<System> {
    let setup = Setup::without_worker(database);
    (!setup.is_skipped()).then(|| System::start(setup))
}

fn blocks(system: &System, sheet: &str) -> Vec<Value> {
    let answer = system.http().get(&format!("/rest/interpret/worksheet/{sheet}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["blocks"].as_array().unwrap().clone()
}

/// Mode of each block with what tells it from others of its mode.
fn outline(blocks: &[Value]) -> Vec<String> {
    let describe = |block: &Value| {
        let texts = |list: &Value, key: &str| -> Vec<String> {
            let entries = list.as_array().into_iter().flatten();
            entries
                .map(|entry| entry[key].as_str().unwrap_or_default().to_owned())
                .collect()
        };
        let mode = block["mode"].as_str().unwrap_or_default().trim_end_matches("_block");
        match mode {
            "markup" => block["text"].as_str().unwrap_or_default().to_owned(),
            "table" => format!(
                "{mode} {}: {}",
                block["header"],
                texts(&block["rows"], "name").join(" ")
            ),
            "schema" => format!("{mode}: {}", texts(&block["field_rows"], "field").join(" ")),
            "subworksheets" => {
                let mut names = texts(&block["subworksheet_infos"], "name");
                names.sort();
                format!("{mode}: {}", names.join(" "))
            }
            _ => block.to_string(),
        }
    };
    blocks.iter().map(describe).collect()
}

#[rstest]
fn home_and_dashboard_are_filled_and_show_what_is_there(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let setup = Setup::new(database, Runtime::Process);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    cl.ok(&["upload", "-c", "12345", "-n", "first"]);
    cl.ok(&["upload", "-c", "1234567", "-n", "second"]);
    let run = cl.ok(&["run", "while true; do sleep 1; done", "-n", "endless"]);
    system.await_state(&run, "running");
    // Asking for the dashboard makes it.
    assert!(cl.ok(&["work", "dashboard"]).contains("(dashboard)"));
    let dashboard = cl.ok(&["work", "-u"]);
    let shown = outline(&blocks(&system, &dashboard));
    let fields = r#"["uuid","name","owner","created","time","state"]"#;
    let default = r#"["uuid[0:8]","name","summary[0:1024]","data_size","state","description"]"#;
    let expected = [
        "Welcome. ",
        "## **My worksheets**",
        "subworksheets: dashboard home-codalab",
        "## **My running bundles**",
        "schema: uuid name owner created time state",
        "Running:",
        &format!("table {fields}: endless"),
        "Waiting for a worker:",
        "## **My recent bundles**",
        &format!("table {default}: endless second first"),
        "## **My floating bundles**\nBundles on no worksheet:",
        "## **Basic statistics**\nNumber of bundles:\n3",
        "Disk usage:\n",
    ];
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (shown, expected) in shown.iter().zip(expected) {
        assert!(shown.starts_with(expected), "{shown:?} is not {expected:?}");
    }
    let info = system
        .http()
        .get(&format!("/rest/interpret/worksheet/{dashboard}?brief=1"))
        .json();
    assert_eq!(info["title"], "CodaLab Dashboard");
    let table = &blocks(&system, &dashboard)[6];
    assert_eq!(table["rows"][0]["owner"], "codalab", "{table}");
    assert_eq!(table["rows"][0]["uuid"], run[..8], "{table}");

    let home = cl.ok(&["new", "home"]);
    let shown = outline(&blocks(&system, &home));
    let with_owner = |name: &str| {
        name.replace(']', ",\"owner\"]")
            .replace("0:8,\"owner\"", "0:8")
            .replace("0:1024,\"owner\"", "0:1024")
    };
    let run_header = with_owner(r#"["uuid[0:8]","name","summary[0:1024]","data_size","time","state","description"]"#);
    let expected = [
        "Welcome. ",
        "## **Pending bundles**",
        &format!("table {run_header}: endless"),
        "## **Recent bundles**",
        &format!("table {}: endless second first", with_owner(default)),
        "## **Worksheets**",
        "subworksheets: dashboard home home-codalab",
        "## **Basic statistics**\nNumber of bundles:\n3",
        "Disk usage:\n",
    ];
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (shown, expected) in shown.iter().zip(expected) {
        assert!(shown.starts_with(expected), "{shown:?} is not {expected:?}");
    }
    // A saved source is the same source: the templates are in the normal form.
    for sheet in [&dashboard, &home] {
        let source = cl.ok(&["print", "-r", sheet]);
        system.write("same.md", &source);
        cl.ok(&["wedit", sheet, "-f", "same.md"]);
        assert_eq!(cl.ok(&["print", "-r", sheet]), source);
    }
    cl.ok(&["kill", &run]);
}

#[rstest]
fn an_edit_that_meets_another_one_is_kept_in_a_file(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some(system) = without_worker(database) else {
        return;
    };
    let cl = system.cl();
    let sheet = cl.ok(&["new", "shared"]);
    cl.ok(&["work", &sheet]);
    system.write("start.md", "one\ntwo\nthree\n");
    cl.ok(&["wedit", "-f", "start.md"]);
    let cl_path = codalab_tests::binary("cl").display().to_string();
    for (number, meanwhile) in ["add text theirs", "wedit -f theirs.md", "wedit -f shorter.md"]
        .iter()
        .enumerate()
    {
        cl.ok(&["wedit", "-f", "start.md"]);
        system.write("theirs.md", "one\nzwei\nthree\n");
        system.write("shorter.md", "one\nthree\n");
        let script = format!("'{cl_path}' {meanwhile} >/dev/null\nprintf 'mine {number}\\n' >> \"$1\"\n");
        let script = system.write("editor.sh", script);
        let editing = cl.clone().with("EDITOR", &format!("sh {}", script.display()));
        let outcome = editing.run(&["wedit", "shared"]);
        let message = outcome.fails(1);
        assert!(message.contains("somebody else changed the worksheet"), "{message}");
        let kept = message.split("Your text is kept in ").nth(1).expect(message).trim();
        let text = std::fs::read_to_string(kept).unwrap();
        assert_eq!(text, format!("one\ntwo\nthree\nmine {number}\n"));
        let theirs = cl.ok(&["print", "-r"]);
        assert!(!theirs.contains("mine"), "{theirs}");
        // What the message says to do works.
        cl.ok(&["wedit", &sheet, "-f", kept]);
        assert_eq!(cl.ok(&["print", "-r"]), text.trim_end());
        std::fs::remove_file(kept).unwrap();
    }
}

#[rstest]
fn a_text_that_cannot_be_saved_is_not_lost(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some(system) = without_worker(database) else {
        return;
    };
    let cl = system.cl();
    let sheet = cl.ok(&["new", "kept"]);
    cl.ok(&["work", &sheet]);
    cl.ok(&["add", "text", "as it was"]);
    for (typed, reason) in [
        (
            "{nosuch}",
            "Error in source line 2: bundle spec nosuch doesn't match any bundles",
        ),
        ("% add 'open", "Error in source line 2: No closing quotation"),
        ("% display \\\\\\\\\\\\", "Error in source line 2: No escaped character"),
    ] {
        let script = system.write("editor.sh", format!("printf '%s\\n' \"{typed}\" >> \"$1\"\n"));
        let editing = cl.clone().with("EDITOR", &format!("sh {}", script.display()));
        let outcome = editing.run(&["wedit"]);
        let message = outcome.fails(1);
        assert!(message.contains(reason), "{message}");
        let kept = message.split("Your text is kept in ").nth(1).expect(message).trim();
        assert!(std::fs::read_to_string(kept).unwrap().starts_with("as it was\n"));
        std::fs::remove_file(kept).unwrap();
        assert_eq!(cl.ok(&["print", "-r"]), "as it was");
    }
    // An editor that fails, one that does not exist, one that writes something else than text.
    for (editor, reason) in [
        ("false", "the editor ended with"),
        ("no-such-editor", "cannot start the editor no-such-editor"),
        ("sh -c 'printf \"\\377\" > \"$0\"'", "cannot read the edited file"),
    ] {
        let outcome = cl.clone().with("EDITOR", editor).run(&["wedit"]);
        let message = outcome.fails(1);
        assert!(message.contains(reason), "{editor}: {message}");
        if let Some(kept) = message.split("Your text is kept in ").nth(1) {
            std::fs::remove_file(kept.trim()).unwrap();
        }
        assert_eq!(cl.ok(&["print", "-r"]), "as it was");
    }
    // What came through a pipe cannot be asked for again.
    let piped = |bytes: &str| {
        let program = codalab_tests::binary("cl");
        let shell = codalab_tests::Cl {
            program: "sh".into(),
            ..cl.clone()
        };
        shell.run(&["-c", &format!("printf '{bytes}' | '{}' wedit -f -", program.display())])
    };
    for (bytes, text, reason) in [
        (
            "mine\\n{nosuch}\\n",
            &b"mine\n{nosuch}\n"[..],
            "Error in source line 2: bundle spec nosuch",
        ),
        ("caf\\351", b"caf\xe9", "standard input is not UTF-8 text (line 1)"),
    ] {
        let outcome = piped(bytes);
        let message = outcome.fails(1);
        assert!(message.contains(reason), "{message}");
        let kept = message.split("Your text is kept in ").nth(1).expect(message).trim();
        assert_eq!(std::fs::read(kept).unwrap(), text);
        std::fs::remove_file(kept).unwrap();
        assert_eq!(cl.ok(&["print", "-r"]), "as it was");
    }
    piped("as it was\\n").ok();
    // Nothing changed, nothing sent.
    let same = cl.clone().with("EDITOR", "true").run(&["wedit"]);
    assert_eq!(same.fails(1), "UsageError: No change made; aborting");
}

#[rstest]
fn odd_source_texts_are_saved_as_they_are_or_refused_with_the_line(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
) {
    let Some(system) = without_worker(database) else {
        return;
    };
    let cl = system.cl();
    let sheet = cl.ok(&["new", "odd"]);
    cl.ok(&["work", &sheet]);
    let saved = "% add 'it'\"'\"'s' /a:b 's/x/\"/'\n\
                 // a \"comment' with quotes\n\
                 % schema '\"' \"'\"\n\
                 {\"json\": [1, 2]}\n\
                 bell \u{7} escape \u{1b}[31m delete \u{7f} null-like \u{2400}\n\
                 \u{feff}byte order mark, \u{202e}right to left, \u{1f600}, e\u{301}\n\
                 next\u{85}line\u{2028}separator\u{b}tab\n\
                 <script>alert(1)</script> &amp; $x$\n";
    system.write("odd.md", saved);
    cl.ok(&["wedit", "-f", "odd.md"]);
    let printed = cl.ok(&["print", "-r"]);
    let expected = saved.replace("% schema '\"' \"'\"", "% schema '\"' ''\"'\"''");
    assert_eq!(printed, expected.trim_end());
    // What is printed can be saved again, and nothing changes any more.
    system.write("again.md", format!("{printed}\n"));
    cl.ok(&["wedit", "-f", "again.md"]);
    assert_eq!(cl.ok(&["print", "-r"]), printed);
    assert_eq!(system.cl().run(&["print"]).code, Some(0));

    let refused: [(&[u8], &str); 5] = [
        (
            b"fine\n% add 'one \"two\n",
            "Error in source line 2: No closing quotation",
        ),
        (
            b"fine\n% add \"a 'b\" 'c\n",
            "Error in source line 2: No closing quotation",
        ),
        (b"fine\n\n% add x\\\n", "Error in source line 3: No escaped character"),
        (
            b"fine\n{nosuch}\n",
            "Error in source line 2: bundle spec nosuch doesn't match any bundles",
        ),
        (b"fine\ncaf\xe9\n", "is not UTF-8 text (line 2)"),
    ];
    for (bytes, reason) in refused {
        system.write("bad.md", bytes);
        let outcome = cl.run(&["wedit", "-f", "bad.md"]);
        assert!(outcome.fails(1).contains(reason), "{outcome}");
        assert_eq!(cl.ok(&["print", "-r"]), printed);
    }
    // The server refuses bytes that are not UTF-8, too.
    let answer = system
        .http()
        .request("POST", &format!("/rest/worksheets/{sheet}/raw"), &[], b"caf\xe9");
    assert_eq!(answer.status, 400, "{answer:?}");
    // No text, one empty line; the message of wrm is not a surprise then.
    let emptied = cl.run(&["wedit", "-f", "/dev/null"]);
    assert_eq!(emptied.code, Some(0));
    assert!(
        emptied.stderr.contains("one empty line") && emptied.stderr.contains("--force"),
        "{emptied}"
    );
    assert_eq!(cl.ok(&["print", "-r"]), "");
    let items = system
        .http()
        .get(&format!("/rest/worksheets/{sheet}?include=items"))
        .json();
    assert_eq!(
        items["data"]["relationships"]["items"]["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[rstest]
fn very_many_lines_are_saved_and_printed(
    #[values((Engine::Sqlite, 100_000), (Engine::Mariadb, 20_000))] (database, count): (Engine, usize),
) {
    let Some(system) = without_worker(database) else {
        return;
    };
    let cl = system.cl();
    let sheet = cl.ok(&["new", "long"]);
    cl.ok(&["work", &sheet]);
    let line = |number: usize| match number % 4 {
        0 => format!("line {number}"),
        1 => "% display table name".to_owned(),
        2 => String::new(),
        _ => format!("// note {number}"),
    };
    let lines: Vec<String> = (0..count).map(line).collect();
    let text = lines.join("\n") + "\n";
    system.write("long.md", &text);
    cl.ok(&["wedit", "-f", "long.md"]);
    // One wrong line among them: it is named, and nothing changes.
    system.write(
        "wrong.md",
        text.replace(&format!("// note {}", count - 1), "% add 'open"),
    );
    let outcome = cl.run(&["wedit", "-f", "wrong.md"]);
    let reason = format!("Error in source line {count}: No closing quotation");
    assert!(outcome.fails(1).contains(&reason), "{}", outcome.stderr);
    let printed = cl.run(&["print", "-r"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    assert!(String::from_utf8(printed.stdout).unwrap() == text);
}

#[test]
fn the_examples_of_the_manual_show_no_errors() {
    let Some(system) = without_worker(Engine::Sqlite) else {
        return;
    };
    let cl = system.cl();
    cl.ok(&["new", "notes"]);
    let sheet = cl.ok(&["new", "manual"]);
    cl.ok(&["work", &sheet]);
    system.write("run/stats.json", r#"{"err": {"dev": 0.25}}"#);
    system.write("run/log.tsv", "0\t1.5\n1\t0.5\n");
    system.write("run/stdout", "done\n");
    for name in ["train-a", "train-b"] {
        cl.ok(&["upload", "run", "-n", name]);
    }
    let bundles = cl.ok(&["print", "-r"]);
    let manual = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/worksheets.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let examples: Vec<&str> = manual
        .split("```worksheet\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        // Names are looked up among the bundles of the worksheet as it was.
        system.write("bundles.md", &bundles);
        cl.ok(&["wedit", "-f", "bundles.md"]);
        system.write("example.md", example);
        cl.ok(&["wedit", "-f", "example.md"]);
        let blocks = blocks(&system, &sheet);
        assert!(!blocks.is_empty(), "{example}");
        for block in &blocks {
            let text = block.to_string();
            assert!(block["error"] != true, "{example}\n{block:#}");
            for wrong in ["ERROR:", "<invalid", "No worksheet found", "not_found", "\"<private>"] {
                assert!(!text.contains(wrong), "{wrong}: {example}\n{block:#}");
            }
        }
        assert_eq!(cl.run(&["print"]).code, Some(0));
    }
}
